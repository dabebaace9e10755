/**
 * Command lines of docker, in an order in which each finds what the ones before have left. Quotes keep spaces.
 */
export const commandLines = `
run --rm berth/busybox echo hello
run --rm berth/busybox sh -c 'echo out; echo err >&2; exit 7'
run --rm berth/busybox nosuchcommand
run --rm berth/busybox /etc
run --rm berth/busybox /etc/passwd
run --rm --workdir /created/deep berth/busybox pwd
run --rm -u 1000:1000 berth/busybox id
run --rm -u nosuchuser berth/busybox id
run --rm -u 0:nosuchgroup berth/busybox id
run --rm --group-add 5 --group-add nosuchgroup berth/busybox id
run --rm --hostname h1 --domainname d1 berth/busybox sh -c 'hostname; cat /etc/hostname; grep h1 /etc/hosts | cut -f2'
run --rm --add-host x:1.2.3.4 berth/busybox grep x /etc/hosts
run --rm --dns 9.9.9.9 --dns-search s --dns-option ndots:3 berth/busybox cat /etc/resolv.conf
run --rm --read-only berth/busybox touch /x
run --rm --tmpfs /t:size=1m,mode=700 berth/busybox sh -c 'df -k /t | tail -1 | tr -s " " | cut -d" " -f2; stat -c %a /t'
run --rm --network none berth/busybox ls /sys/class/net
run --rm --network host berth/busybox cat /proc/sys/kernel/hostname
run --rm --network nosuch berth/busybox true
run --rm --network container:nosuch berth/busybox true
run --rm --ipc container:nosuch berth/busybox true
run --rm --cap-drop ALL berth/busybox chown 1:1 /etc
run --rm --cap-drop ALL berth/busybox grep Cap /proc/self/status
run --rm berth/busybox grep Cap /proc/self/status
run --rm --cap-add NET_ADMIN berth/busybox grep CapEff /proc/self/status
run --rm --privileged berth/busybox grep -c . /proc/self/mountinfo
run --rm --security-opt no-new-privileges berth/busybox grep NoNewPrivs /proc/self/status
run --rm --security-opt seccomp=unconfined berth/busybox grep Seccomp: /proc/self/status
run --rm berth/busybox grep Seccomp: /proc/self/status
run --rm --ulimit nofile=64:128 berth/busybox sh -c 'ulimit -n; ulimit -Hn'
run --rm --sysctl net.ipv4.ip_forward=0 berth/busybox cat /proc/sys/net/ipv4/ip_forward
run --rm --sysctl kernel.msgmax=9000 berth/busybox cat /proc/sys/kernel/msgmax
run --rm --shm-size 2m berth/busybox sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
run --rm -e A=1 berth/busybox env
run --rm --entrypoint echo berth/busybox a b
run --rm --entrypoint '' berth/busybox echo c
run --rm --init berth/busybox ps
run --rm --pid host --pid bogus berth/busybox true
run --rm -v /tmp/nosuch-dir-parity:/x berth/busybox ls -ld /x
run --rm -v parityvol:/etc berth/busybox ls /etc
run --rm --mount type=bind,src=/nosuch,dst=/x berth/busybox true
run --rm --device /dev/nosuch berth/busybox true
run --rm --device /dev/null:/dev/n2:r berth/busybox ls -l /dev/n2
run --rm --stop-signal BOGUS berth/busybox true
run --rm -m 4k berth/busybox true
run --rm -m bogus berth/busybox true
run --rm --cpus bogus berth/busybox true
run --rm -p 1:2:3:4 berth/busybox true
run --rm --restart always berth/busybox true
run --rm --name 'bad name' berth/busybox true
run --rm --name a/b berth/busybox true
run --rm -d --rm berth/busybox true
run nosuchimage:bogus true
run --rm --pull never nosuchimage true
run --bogus berth/busybox
run --rm -i berth/busybox cat
run --rm -t berth/busybox tty
run --rm -it berth/busybox sh
run --name one -d berth/busybox sleep 1000
run --name one berth/busybox true
ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}} {{.LocalVolumes}} {{.Mounts}} {{.Networks}} {{.Labels}} {{.Size}}'
ps -a --filter name=one --format '{{.Names}}'
ps --filter status=bogus
ps --filter bogus=1
ps -a --filter exited=0 --format '{{.Names}}'
ps -a --filter ancestor=berth/busybox --format '{{.Names}}'
ps -q --no-trunc
top one -o user,args
top one bogus
exec one echo hi
exec one sh -c 'exit 9'
exec one nosuch
exec -u 1000 one id -u
exec -u nosuchuser one id
exec -w /etc one pwd
exec -w /nosuch one pwd
exec -e X=1 one sh -c 'echo $X'
exec -d one sleep 5
exec nosuch true
exec one
exec -i one cat
exec -it one sh
logs one
logs nosuch
logs --tail bogus one
logs --since bogus one
port one
port one 80
port nosuch
pause one
pause one
exec one true
ps -a --filter status=paused --format '{{.Names}} {{.Status}}'
stop -t 0 nosuch
unpause one
unpause one
rename one two
rename two two
rename two bad/name
rename nosuch x
inspect nosuch
inspect --type volume nosuch
inspect -f '{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.RestartCount}}' two
inspect -f '{{.Bogus}}' two
kill -s BOGUS two
kill -s 0 two
kill nosuch
update --memory 1k two
update nosuch --memory 64m
update --restart always two
update --restart no two
rm two
rm nosuch
restart -t 0 two
stop -t 0 two
start two
start nosuch
kill two
wait two
kill two
stop two
pause two
start -a two-nosuch
inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' two
logs two
rm -f two
rm two
create --name three berth/busybox sh -c 'echo from three; exit 4'
start -a three
wait three
diff three
logs -t nosuch
rm three
volume create v1
volume create v1
volume create --label a=b --opt type=tmpfs --opt device=tmpfs --opt o=size=1m v2
volume create 'bad name'
volume create a/b
volume create --opt bogus=1 v4
volume create --opt type=tmpfs v5
volume ls --format '{{.Name}} {{.Driver}}'
volume ls --filter label=a=b --format '{{.Name}}'
volume ls --filter dangling=true --format '{{.Name}}'
volume ls --filter bogus=1
volume inspect v1
volume inspect v2
volume inspect nosuch
volume rm nosuch
volume rm v1
volume rm -f nosuch
run --name holder -d -v v2:/v berth/busybox sleep 1000
volume rm v2
rm -f holder
volume rm v2
volume prune -f --filter bogus=1
volume create x
volume create -d nosuch vq
volume create --opt device=/x vq
volume create --opt type=tmpfs --opt device=tmpfs --opt size=1g vq
volume create --opt type=tmpfs --opt device=tmpfs --opt size=bogus vq
volume create --opt type=none --opt device=/nosuch-parity --opt o=bind vnone
run --rm --network none -v vnone:/x berth/busybox true
volume create --opt type=nosuchfs --opt device=x vfs
run --rm --network none -v vfs:/x berth/busybox true
volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,uid=5,mode=0700 vtmp
run --rm --network none -v vtmp:/x berth/busybox stat -c '%u %a' /x
run --rm --network none -v vtmp:/x berth/busybox df -k /x
run --rm --network none -v vtmp:/etc berth/busybox ls /etc
volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=bogus vbad
run --rm --network none -v vbad:/x berth/busybox true
volume inspect -f '{{json .Options}} {{json .Labels}} {{.Scope}}' vtmp
volume create --opt type=tmpfs --opt device=tmpfs vtmp
volume create --label changed=1 vtmp
volume inspect -f '{{json .Options}} {{json .Labels}}' vtmp
run --rm --network none -v vcopy:/etc berth/busybox ls /etc
run --rm --network none -v vcopy:/bin:nocopy berth/busybox ls /bin
run --rm --network none -v vro:/x:ro berth/busybox touch /x/f
run --rm --network none --mount type=tmpfs,dst=/x,readonly berth/busybox touch /x/f
run --rm --network none --mount type=tmpfs,dst=/x,tmpfs-size=2m,tmpfs-mode=700 berth/busybox sh -c 'df -k /x; stat -c %a /x'
run --rm --network none --tmpfs /x:size=1m,uid=7 berth/busybox sh -c 'df -k /x; stat -c %u /x'
run --rm --network none --mount type=tmpfs,dst=/x berth/busybox grep ' /x ' /proc/mounts
run --rm --network none --tmpfs /x:rw,exec berth/busybox grep ' /x ' /proc/mounts
run --rm --network none -v /usr:/x:rslave berth/busybox true
run --rm --network none -v /usr:/x:rshared berth/busybox true
run --rm --network none --mount type=bind,src=/etc/passwd,dst=/p berth/busybox head -c 4 /p
create --name vholder -v vcopy:/v berth/busybox true
create --name vtaker --volumes-from vholder:ro,z berth/busybox true
inspect -f '{{json .Mounts}} {{json .HostConfig.VolumesFrom}}' vtaker
create --volumes-from vholder:rslave berth/busybox true
create --volumes-from vholder:odd berth/busybox true
create --volumes-from : berth/busybox true
run --rm --network none --volumes-from vholder:ro berth/busybox touch /v/f
rm vtaker
volume rm vcopy vnone
volume rm -f vcopy
volume ls --filter dangling=false --filter name=v --format '{{.Name}}'
volume ls --filter name=^vt --format '{{.Name}}'
volume ls --filter name=[ --format '{{.Name}}'
volume ls --filter dangling=maybe
volume ls --filter driver=local --filter name=vt --format '{{.Name}}'
volume ls --filter driver=nosuch --format '{{.Name}}'
volume ls --filter label=a --filter label=b=c --format '{{.Name}}'
volume inspect vcopy nosuch vnone -f '{{.Name}}'
volume rm vtmp vnone vfs vbad
rm -f vholder
volume rm vcopy vro
images --format '{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}'
images nosuch
images --filter bogus=1
tag berth/busybox parity:one
tag nosuch x
tag berth/busybox BAD
images --filter reference=parity --format '{{.Repository}}:{{.Tag}}'
rmi parity:one
rmi nosuch
history --format '{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}}' berth/busybox
history nosuch
image inspect -f '{{.Os}} {{.Architecture}} {{json .Config.Cmd}} {{json .RootFS}} {{json .RepoTags}}' berth/busybox
network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
network inspect nosuch
network inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}}' bridge
info --format '{{.LoggingDriver}} {{.CgroupDriver}} {{.CgroupVersion}} {{.OSType}} {{.NCPU}} {{.Swarm.LocalNodeState}}'
swarm init --bogus
node ls
service ls
stack ls
secret ls
swarm leave
plugin ls
checkpoint ls nosuch
cp nosuch:/x /tmp/x
system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
events --since bogus --until 1
wait nosuch
attach nosuch
stats --no-stream nosuch
container prune -f --filter bogus=x
image prune -f
container ls -a --format '{{.Names}}'
login localhost:1 -u x -p y
search nosuch
pull localhost:1/nosuch
push localhost:1/nosuch
save nosuch
load -i /nosuch
import /nosuch
commit nosuch
export nosuch
`;
