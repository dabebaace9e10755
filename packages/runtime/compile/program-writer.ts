/**
 * Writes the recurring phrases of a container's program: open, write a file, pipes, mounts by descriptor. A thin layer
 * over ProgramBuilder that knows argument order, struct layouts and per-architecture flags; it decides nothing.
 *
 * Descriptors opened here are close-on-exec. Registers for values that live shortly are lent by `borrow`, since a program
 * has 256.
 */
import {
  ANY_ERRNO,
  type Argument,
  type DataRef,
  type Label,
  type ProgramBuilder,
  type Register,
} from "#program/types.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  ERRNO,
  FSCONFIG,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  type OpenFlags,
  openFlags,
  RESOLVE,
} from "#runtime/compile/kernel-constants.ts";

/** What a file system is made of, for `fsmount`. */
export interface FileSystem {
  type: string;
  source: string;
  /** "size=64k", "newinstance". */
  parameters: readonly string[];
  /** MOUNT_ATTR_… */
  attributes: number;
  /** Parameters that only some file systems know: no failure with the others. */
  leniently?: readonly string[];
}

export class ProgramWriter {
  readonly b: ProgramBuilder;
  readonly O: OpenFlags;
  readonly #free: Register[] = [];
  readonly #structs = new Map<string, DataRef>();
  #borrowed = 0;

  constructor(builder: ProgramBuilder, architecture: "x64" | "arm64") {
    this.b = builder;
    this.O = openFlags(architecture);
  }

  /** Lends a register for the time of `use`. */
  borrow<T>(use: (register: Register) => T): T {
    const register = this.#free.pop() ?? this.b.register(`t${this.#borrowed++}`);
    const result = use(register);
    this.#free.push(register);
    return result;
  }

  /** A constant struct of 32- and 64-bit fields; the same content is stored once. */
  constant(...fields: readonly { width: 4 | 8; value: number | bigint }[]): DataRef {
    let key = "";
    for (const { width, value } of fields) key += `${width}:${value} `;
    const known = this.#structs.get(key);
    if (known !== undefined) return known;
    const size = fields.reduce((sum, { width }) => sum + width, 0);
    const content = new Uint8Array(size);
    const view = new DataView(content.buffer);
    let at = 0;
    for (const { width, value } of fields) {
      if (width === 4) view.setUint32(at, Number(value), true);
      else view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
      at += width;
    }
    const stored = this.b.bytes(content);
    this.#structs.set(key, stored);
    return stored;
  }

  /** Opens a path of the host. */
  open(
    path: string,
    flags: number,
    into: Register,
    why: string,
    options: { mode?: number; ignore?: number } = {},
  ): void {
    const { mode = 0, ignore } = options;
    this.b.sys("openat", [AT_FDCWD, this.b.cstr(path), flags | this.O.CLOEXEC, mode], {
      into,
      why,
      ...(ignore !== undefined && { ignore }),
    });
  }

  /**
   * openat2: resolves `path` from `root` under the given RESOLVE_… rules. Under those of a root the kernel doesn't go up
   * while anybody on the host renames or mounts, and wants to be asked again (openat2(2), EAGAIN).
   */
  openUnder(
    root: Register,
    path: string,
    options: { flags: number; resolve: number; into: Register; why: string; ignore?: number },
  ): void {
    const { flags, resolve, into, why, ignore } = options;
    const how = this.constant(
      { width: 8, value: flags | this.O.CLOEXEC },
      { width: 8, value: 0 },
      { width: 8, value: resolve },
    );
    this.b.sys("openat2", [root, this.b.cstr(path === "" ? "." : path), how, how.length], {
      into,
      why,
      ...((resolve & (RESOLVE.IN_ROOT | RESOLVE.BENEATH)) !== 0 && { again: true }),
      ...(ignore !== undefined && { ignore }),
    });
  }

  close(descriptor: Register): void {
    this.b.sys("close", [descriptor], { why: `close ${descriptor.name}` });
  }

  /** One write(2) of all the text. */
  writeText(descriptor: Register, text: string, why: string): void {
    const content = this.b.bytes(new TextEncoder().encode(text), 1);
    this.b.sys("write", [descriptor, content, content.length], { full: true, why });
  }

  /** Opens a file of the host, writes the text, closes. A missing file is passed over if `optional`. */
  writeFile(path: string, text: string, why: string, options: { optional?: boolean } = {}): void {
    this.borrow((fd) => {
      const done = this.b.label("written");
      this.open(path, this.O.WRONLY, fd, why, options.optional ? { ignore: ERRNO.ENOENT } : {});
      if (options.optional) this.b.jumpIfNegative(fd, done);
      this.writeText(fd, text, why);
      this.close(fd);
      if (options.optional) this.place(done);
    });
  }

  /** Places a label even where nothing may follow. */
  place(label: ReturnType<ProgramBuilder["label"]>): void {
    this.b.place(label);
  }

  /** A pipe or pair of sockets: two descriptors. `make` gets the room for them. */
  pair(first: Register, second: Register, make: (room: DataRef) => void): void {
    const room = this.b.scratch(8, 4);
    make(room);
    this.b.load(first, this.b.slice(room, 0, 4), 4);
    this.b.load(second, this.b.slice(room, 4, 4), 4);
  }

  pipe(readEnd: Register, writeEnd: Register, why: string): void {
    this.pair(readEnd, writeEnd, (room) => this.b.sys("pipe2", [room, this.O.CLOEXEC], { why }));
  }

  /** A new file system, mounted nowhere yet. `otherwise`: where to go on if the kernel refuses to make it. */
  newMount(fs: FileSystem, into: Register, why: string, otherwise?: Label): void {
    const { b } = this;
    this.borrow((context) => {
      const ignore = otherwise === undefined ? {} : { ignore: ANY_ERRNO };
      b.sys("fsopen", [b.cstr(fs.type), FSOPEN_CLOEXEC], { into: context, ...ignore, why });
      if (otherwise !== undefined) b.jumpIfNegative(context, otherwise);
      if (fs.source !== "") this.#configure(context, "source", fs.source, why);
      this.parameters(context, fs.parameters, why);
      for (const name of fs.leniently ?? []) {
        const args = [context, FSCONFIG.SET_FLAG, b.cstr(name), 0, 0];
        b.sys("fsconfig", args, { ignore: ERRNO.EINVAL, why: `${why}: option ${name}` });
      }
      if (otherwise === undefined) {
        b.sys("fsconfig", [context, FSCONFIG.CMD_CREATE, 0, 0, 0], { why });
        b.sys("fsmount", [context, FSMOUNT_CLOEXEC, fs.attributes], { into, why });
        this.close(context);
        return;
      }
      const refused = b.label(`${fs.type} is refused`);
      const made = b.label(`${fs.type} is made`);
      b.sys("fsconfig", [context, FSCONFIG.CMD_CREATE, 0, 0, 0], { into, ...ignore, why });
      b.jumpIfNegative(into, refused);
      b.sys("fsmount", [context, FSMOUNT_CLOEXEC, fs.attributes], { into, ...ignore, why });
      b.jumpIfNegative(into, refused);
      this.close(context);
      b.jump(made);
      b.place(refused);
      this.close(context);
      b.jump(otherwise);
      b.place(made);
    });
  }

  /** "size=64k", "newinstance" for a file system that is being made or changed. */
  parameters(context: Register, parameters: readonly string[], why: string): void {
    for (const parameter of parameters) {
      const equals = parameter.indexOf("=");
      if (equals < 0) this.#configure(context, parameter, undefined, why);
      else this.#configure(context, parameter.slice(0, equals), parameter.slice(equals + 1), why);
    }
  }

  #configure(context: Register, name: string, value: string | undefined, why: string): void {
    const { b } = this;
    const args =
      value === undefined
        ? [context, FSCONFIG.SET_FLAG, b.cstr(name), 0, 0]
        : [context, FSCONFIG.SET_STRING, b.cstr(name), b.cstr(value), 0];
    b.sys("fsconfig", args, { why: `${why}: option ${value === undefined ? name : `${name}=${value}`}` });
  }

  /** A copy of the mount at a path of the host, or at a descriptor, attached nowhere. */
  cloneTree(from: string | Register, recursive: boolean, into: Register, why: string): void {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
    const args: Argument[] =
      typeof from === "string"
        ? [AT_FDCWD, this.b.cstr(from), flags]
        : [from, this.b.cstr(""), flags | AT_EMPTY_PATH];
    this.b.sys("open_tree", args, { into, why });
  }

  /** Sets and clears attributes, and propagation, of the mount at a descriptor. */
  setMountAttributes(
    mount: Register,
    change: { set?: number; clear?: number; propagation?: number },
    recursive: boolean,
    why: string,
  ): void {
    const attributes = this.#attributes(change);
    const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    this.b.sys("mount_setattr", [mount, this.b.cstr(""), flags, attributes, attributes.length], { why });
  }

  /**
   * What came into a user namespace read-only, nosuid, nodev or noexec stays so: then only what was asked for in so many
   * words is changed.
   */
  setUnlessLocked(
    mount: Register,
    all: { set: number; clear: number },
    asked: { set: number; clear: number },
    why: string,
  ): void {
    const done = this.b.label("the attributes are changed");
    const attributes = this.#attributes(all);
    this.borrow((result) => {
      this.b.sys("mount_setattr", [mount, this.b.cstr(""), AT_EMPTY_PATH, attributes, attributes.length], {
        into: result,
        ignore: ERRNO.EPERM,
        why,
      });
      const locked = this.b.label("some attributes are locked");
      this.b.jumpIfNegative(result, locked);
      this.b.jump(done);
      this.b.place(locked);
    });
    this.setMountAttributes(mount, asked, false, why);
    this.b.place(done);
  }

  #attributes(change: { set?: number; clear?: number; propagation?: number }): DataRef {
    return this.constant(
      { width: 8, value: change.set ?? 0 },
      { width: 8, value: change.clear ?? 0 },
      { width: 8, value: change.propagation ?? 0 },
      { width: 8, value: 0 },
    );
  }

  /** Puts a mount onto the object behind `target`. */
  attach(mount: Register, target: Register, why: string): void {
    const empty = this.b.cstr("");
    this.b.sys(
      "move_mount",
      [mount, empty, target, empty, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH],
      {
        why,
      },
    );
  }
}
