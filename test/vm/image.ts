/** The virtual machine's kernel and initramfs: fetched once, and put together anew for every boot. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { aptGet } from "#test/fixtures/debian-archive.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const DIRECTORY = join(ROOT, "build/vm");
const KERNEL = join(DIRECTORY, "kernel");

/** Modules that the guest loads, each after those it needs. */
const MODULES =
  "overlay loop dm-mod dm-bufio dm-bio-prison inet_diag tcp_diag udp_diag unix_diag netlink_diag af_packet_diag nfnetlink libcrc32c dm-persistent-data dm-thin-pool nf_tables veth tun quota_tree quota_v2 xfs llc stp garp mrp 8021q dummy macvlan ipvlan".split(
    " ",
  );

/** File systems, thin pools, the docker command line, and what busybox's own cannot do of what tests ask. */
const PROGRAMS =
  "sh unshare mkfs.xfs mkfs.ext4 xfs_growfs resize2fs blkid dmsetup thin_check find touch stat cp truncate setcap docker".split(
    " ",
  );
/** Names that LVM's one program goes by. */
const VOLUME_PROGRAMS = "pvs pvcreate vgs vgcreate vgremove lvs lvcreate lvconvert lvchange lvremove".split(
  " ",
);

export const SYSTEMD = "/lib/systemd/systemd";

export interface Image {
  kernel: string;
  /** The caller's, to be deleted when the machine has ended. */
  initramfs: string;
}

/** `environment`: more of it for the guest's tests. Throws what apt-get says if the kernel cannot be fetched. */
export function makeImage(environment: Readonly<Record<string, string>> = {}): Image {
  if (!existsSync(join(KERNEL, "boot"))) fetchKernel();
  const [kernel = ""] = globSync("boot/vmlinuz-*", { cwd: KERNEL }).map((name) => join(KERNEL, name));
  // Several at once must not be in each other's way.
  const tree = join(DIRECTORY, `tree.${process.pid}`);
  const initramfs = `${tree}.cpio`;
  fill(tree);
  const words = Object.entries(environment).map(([name, value]) => `${name}='${value}'`);
  writeFileSync(join(tree, "environment"), `${words.map((word) => `export ${word}`).join("\n")}\n`);
  // busybox has an archiver for the format that kernels read.
  const archive = 'find . | busybox cpio -o -H newc 2>/dev/null >"$0"';
  execFileSync("sh", ["-c", archive, initramfs], { cwd: tree });
  rmSync(tree, { recursive: true });
  return { kernel, initramfs };
}

function fetchKernel(): void {
  mkdirSync(DIRECTORY, { recursive: true });
  console.error("fetching Debian's cloud kernel …");
  const depends = execFileSync("apt-cache", ["depends", "linux-image-cloud-amd64"], { encoding: "utf8" });
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error("Debian's archive has no linux-image-cloud-amd64");
  // Whole or not at all, whoever else does the same and whatever ends it.
  const work = `${KERNEL}.${process.pid}`;
  mkdirSync(work);
  aptGet(["download", name], work);
  const [archive = ""] = globSync(`${name}_*.deb`, { cwd: work });
  execFileSync("dpkg", ["-x", join(work, archive), join(work, "root")]);
  rmSync(KERNEL, { recursive: true, force: true });
  renameSync(join(work, "root"), KERNEL);
  rmSync(work, { recursive: true });
}

/** Everything the guest has. */
function fill(tree: string): void {
  for (const name of ["bin", "proc", "sys", "dev", "tmp", "run", "etc", "mnt", "modules", "newroot"]) {
    mkdirSync(join(tree, name), { recursive: true });
  }
  cpSync("/bin/busybox", join(tree, "bin/busybox"));
  const applets = spawnSync("/bin/busybox", ["--list"], { encoding: "utf8" })
    .stdout.split("\n")
    .filter(Boolean);
  for (const applet of applets) if (applet !== "busybox") symlinkSync("busybox", join(tree, "bin", applet));
  mkdirSync(join(tree, "usr"));
  symlinkSync("../bin", join(tree, "usr/bin"));
  copyProgram(tree, process.execPath, "bin/node");
  const criu = "/usr/sbin/criu";
  if (existsSync(criu)) copyProgram(tree, criu, "bin/criu");
  for (const program of PROGRAMS) {
    rmSync(join(tree, "bin", program), { force: true });
    const found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
      .map((path) => join(path, program))
      .find(existsSync);
    if (found !== undefined) copyProgram(tree, realpathSync(found), `bin/${program}`);
  }
  addVolumeGroups(tree);
  // criu packs file systems in memory by GNU tar.
  rmSync(join(tree, "bin/tar"));
  copyProgram(tree, "/bin/tar", "bin/tar");
  for (const module of MODULES) {
    const [found = ""] = globSync(`lib/modules/*/kernel/**/${module}.ko`, { cwd: KERNEL });
    cpSync(join(KERNEL, found), join(tree, "modules", basename(found)));
  }
  writeFileSync(join(tree, "modules/order"), MODULES.map((name) => `${name}.ko\n`).join(""));
  writeFileSync(join(tree, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(join(tree, "etc/group"), "root:x:0:\n");
  const berth = join(tree, "berth");
  const parts = [
    "package.json",
    "packages",
    "apps",
    "test",
    "bin",
    "scripts",
    "build/launcher",
    "build/busybox.tar",
  ];
  for (const part of [...parts, "node_modules/koffi", "node_modules/@koromix", "dist"]) {
    const from = join(ROOT, part);
    if (existsSync(from)) cpSync(from, join(berth, part), { recursive: true });
  }
  // What the wrappers in bin/ start.
  mkdirSync(join(berth, ".setup"));
  writeFileSync(join(berth, ".setup/node"), "/bin/node\n");
  const script = readFileSync(join(import.meta.dirname, "guest/run-tests.sh"));
  writeFileSync(join(tree, "run-tests.sh"), script, { mode: 0o755 });
  if (existsSync(SYSTEMD)) addSystemd(tree);
  const init = readFileSync(join(import.meta.dirname, "guest/init.sh"));
  writeFileSync(join(tree, "init"), init, { mode: 0o755 });
}

/** LVM as it is where nobody runs udev. */
function addVolumeGroups(tree: string): void {
  const lvm = "/usr/sbin/lvm";
  if (!existsSync(lvm)) return;
  copyProgram(tree, lvm, "bin/lvm");
  for (const name of VOLUME_PROGRAMS) symlinkSync("lvm", join(tree, "bin", name));
  mkdirSync(join(tree, "etc/lvm"), { recursive: true });
  const settings = [
    "activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }",
    'devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" }',
    "backup { backup = 0 archive = 0 }",
    'global { thin_check_executable = "/bin/thin_check" }',
  ];
  writeFileSync(join(tree, "etc/lvm/lvm.conf"), `${settings.join("\n")}\n`);
}

/** The host's systemd, with one unit that runs the tests. */
function addSystemd(tree: string): void {
  copyProgram(tree, SYSTEMD, "lib/systemd/systemd");
  const units = join(tree, "etc/systemd/system");
  mkdirSync(units, { recursive: true });
  const own = "[Unit]\nDefaultDependencies=no\n";
  writeFileSync(join(units, "default.target"), `${own}Requires=tests.service\nAllowIsolate=yes\n`);
  const service = "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sh /run-tests.sh\n";
  writeFileSync(join(units, "tests.service"), `${own}${service}`);
  writeFileSync(join(tree, "etc/machine-id"), "0123456789abcdef0123456789abcdef\n");
}

/** A program and the libraries it is linked to, at their own paths. */
function copyProgram(tree: string, program: string, as: string): void {
  mkdirSync(join(tree, dirname(as)), { recursive: true });
  cpSync(program, join(tree, as), { dereference: true });
  // What is linked to nothing makes it fail.
  const listed = spawnSync("ldd", [program], { encoding: "utf8" }).stdout;
  for (const [, path = ""] of listed.matchAll(/(?:=> )?(\/\S+) \(0x/g)) {
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    if (!existsSync(join(tree, path))) writeFileSync(join(tree, path), readFileSync(path), { mode: 0o755 });
  }
}
