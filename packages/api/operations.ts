/**
 * Every documented operation of the Docker Engine API (v1.51): method, path, operation id.
 *
 * This table is the only list of paths. What Berth serves is what has a handler under the id (handlers.ts);
 * the rest answers 501 with its name, so that a user sees what is missing instead of a puzzling 404. A
 * `{parameter}` matches the rest of the path up to what follows it in the pattern, slashes included, because
 * names of images hold slashes.
 */
export interface Operation {
  id: string;
  method: string;
  path: string;
}

/** One line per operation; grouped by noun. */
const documented = `
SystemAuth               POST    /auth
SystemInfo               GET     /info
SystemVersion            GET     /version
SystemPing               GET     /_ping
SystemPingHead           HEAD    /_ping
SystemEvents             GET     /events
SystemDataUsage          GET     /system/df

ContainerList            GET     /containers/json
ContainerCreate          POST    /containers/create
ContainerInspect         GET     /containers/{id}/json
ContainerTop             GET     /containers/{id}/top
ContainerLogs            GET     /containers/{id}/logs
ContainerChanges         GET     /containers/{id}/changes
ContainerExport          GET     /containers/{id}/export
ContainerStats           GET     /containers/{id}/stats
ContainerResize          POST    /containers/{id}/resize
ContainerStart           POST    /containers/{id}/start
ContainerStop            POST    /containers/{id}/stop
ContainerRestart         POST    /containers/{id}/restart
ContainerKill            POST    /containers/{id}/kill
ContainerUpdate          POST    /containers/{id}/update
ContainerRename          POST    /containers/{id}/rename
ContainerPause           POST    /containers/{id}/pause
ContainerUnpause         POST    /containers/{id}/unpause
ContainerAttach          POST    /containers/{id}/attach
ContainerAttachWebsocket GET     /containers/{id}/attach/ws
ContainerWait            POST    /containers/{id}/wait
ContainerDelete          DELETE  /containers/{id}
ContainerArchiveInfo     HEAD    /containers/{id}/archive
ContainerArchive         GET     /containers/{id}/archive
PutContainerArchive      PUT     /containers/{id}/archive
ContainerPrune           POST    /containers/prune

ContainerExec            POST    /containers/{id}/exec
ExecStart                POST    /exec/{id}/start
ExecResize               POST    /exec/{id}/resize
ExecInspect              GET     /exec/{id}/json

ImageList                GET     /images/json
ImageBuild               POST    /build
BuildPrune               POST    /build/prune
ImageCreate              POST    /images/create
ImageInspect             GET     /images/{name}/json
ImageHistory             GET     /images/{name}/history
ImagePush                POST    /images/{name}/push
ImageTag                 POST    /images/{name}/tag
ImageDelete              DELETE  /images/{name}
ImageSearch              GET     /images/search
ImagePrune               POST    /images/prune
ImageCommit              POST    /commit
ImageGet                 GET     /images/{name}/get
ImageGetAll              GET     /images/get
ImageLoad                POST    /images/load

NetworkList              GET     /networks
NetworkInspect           GET     /networks/{id}
NetworkDelete            DELETE  /networks/{id}
NetworkCreate            POST    /networks/create
NetworkConnect           POST    /networks/{id}/connect
NetworkDisconnect        POST    /networks/{id}/disconnect
NetworkPrune             POST    /networks/prune

VolumeList               GET     /volumes
VolumeCreate             POST    /volumes/create
VolumeInspect            GET     /volumes/{name}
VolumeUpdate             PUT     /volumes/{name}
VolumeDelete             DELETE  /volumes/{name}
VolumePrune              POST    /volumes/prune

DistributionInspect      GET     /distribution/{name}/json
Session                  POST    /session

PluginList               GET     /plugins
GetPluginPrivileges      GET     /plugins/privileges
PluginPull               POST    /plugins/pull
PluginInspect            GET     /plugins/{name}/json
PluginDelete             DELETE  /plugins/{name}
PluginEnable             POST    /plugins/{name}/enable
PluginDisable            POST    /plugins/{name}/disable
PluginUpgrade            POST    /plugins/{name}/upgrade
PluginCreate             POST    /plugins/create
PluginPush               POST    /plugins/{name}/push
PluginSet                POST    /plugins/{name}/set

SwarmInspect             GET     /swarm
SwarmInit                POST    /swarm/init
SwarmJoin                POST    /swarm/join
SwarmLeave               POST    /swarm/leave
SwarmUpdate              POST    /swarm/update
SwarmUnlockkey           GET     /swarm/unlockkey
SwarmUnlock              POST    /swarm/unlock

NodeList                 GET     /nodes
NodeInspect              GET     /nodes/{id}
NodeDelete               DELETE  /nodes/{id}
NodeUpdate               POST    /nodes/{id}/update

ServiceList              GET     /services
ServiceCreate            POST    /services/create
ServiceInspect           GET     /services/{id}
ServiceDelete            DELETE  /services/{id}
ServiceUpdate            POST    /services/{id}/update
ServiceLogs              GET     /services/{id}/logs

TaskList                 GET     /tasks
TaskInspect              GET     /tasks/{id}
TaskLogs                 GET     /tasks/{id}/logs

SecretList               GET     /secrets
SecretCreate             POST    /secrets/create
SecretInspect            GET     /secrets/{id}
SecretDelete             DELETE  /secrets/{id}
SecretUpdate             POST    /secrets/{id}/update

ConfigList               GET     /configs
ConfigCreate             POST    /configs/create
ConfigInspect            GET     /configs/{id}
ConfigDelete             DELETE  /configs/{id}
ConfigUpdate             POST    /configs/{id}/update
`;

/** What clients of dockerd may call without the documentation telling of it. */
const undocumented = `
CheckpointList           GET     /containers/{id}/checkpoints
CheckpointCreate         POST    /containers/{id}/checkpoints
CheckpointDelete         DELETE  /containers/{id}/checkpoints/{checkpoint}
BuildCancel              POST    /build/cancel
Grpc                     POST    /grpc
`;

/** Berth's own, outside Docker's name space. */
const own = `
BerthProgram             GET     /berth/containers/{id}/program
BerthTimings             GET     /berth/containers/{id}/timings
`;

function parse(table: string): Operation[] {
  return table
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [id = "", method = "", path = ""] = line.trim().split(/\s+/);
      return { id, method, path };
    });
}

export const documentedOperations: readonly Operation[] = parse(documented);
export const undocumentedOperations: readonly Operation[] = parse(undocumented);
export const ownOperations: readonly Operation[] = parse(own);
export const allOperations: readonly Operation[] = [
  ...documentedOperations,
  ...undocumentedOperations,
  ...ownOperations,
];
