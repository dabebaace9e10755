import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isBerthError } from "#errors/errors.ts";
import { encodePaxRecord, formatPaxTime, maxHeaderBytes, parsePax, parsePaxTime } from "#storage/tar/pax.ts";
import type { TarEntry, TarEntryType } from "#storage/tar/tar-entry.ts";
import { encodeHeader, type HeaderFields } from "#storage/tar/tar-header.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";

interface Read {
  entry: TarEntry;
  content: Buffer;
}

/** Reads an archive that arrives in pieces of the given sizes, over and over. */
function readAll(archive: Buffer, pieces: number[] = [archive.length]): Read[] {
  const found: Read[] = [];
  const reader = new TarReader({
    entry: (entry) => found.push({ entry, content: Buffer.alloc(Math.min(entry.size, 1 << 20)) }),
    data: (chunk, offset) => void chunk.copy((found.at(-1) as Read).content, offset),
    end: () => {},
  });
  for (let at = 0, i = 0; at < archive.length; i++) {
    const size = Math.max(1, pieces[i % pieces.length] as number);
    reader.write(archive.subarray(at, at + size));
    at += size;
  }
  reader.finish();
  return found;
}

function entryOf(fields: Partial<TarEntry>): TarEntry {
  return {
    type: "file",
    name: "file",
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    size: 0,
    modifiedAt: 0n,
    accessedAt: undefined,
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...fields,
  };
}

function headerOf(fields: Partial<HeaderFields>): Buffer {
  return encodeHeader({
    name: "file",
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    typeFlag: "0",
    linkName: "",
    userName: "",
    groupName: "",
    major: 0,
    minor: 0,
    ...fields,
  });
}

/** A header with its content and padding. */
function block(typeFlag: string, content: string | Buffer, name = "special"): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([headerOf({ typeFlag, size: bytes.length, name }), bytes, paddingFor(bytes.length)]);
}

/** Writes a field over a header and makes the checksum right again. */
function patched(header: Buffer, at: number, bytes: Buffer): Buffer {
  const copy = Buffer.from(header);
  bytes.copy(copy, at);
  copy.write("        ", 148, "latin1");
  const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return copy;
}

const nameChars = fc.constantFrom(..."abcXYZ.-_ =é😀\udc80\n");
const component = fc.string({ unit: nameChars, minLength: 1, maxLength: 120 });
const path = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));
const arbitraryEntry = fc
  .record({
    type: fc.constantFrom<TarEntryType>(
      "file",
      "hardlink",
      "symlink",
      "character-device",
      "directory",
      "fifo",
    ),
    name: path,
    target: path,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xfffffffe }),
    gid: fc.integer({ min: 0, max: 0xfffffffe }),
    userName: fc.string({ unit: nameChars, maxLength: 40 }),
    modifiedAt: fc.bigInt({ min: -(10n ** 19n), max: 10n ** 20n }),
    content: fc.uint8Array({ maxLength: 2000 }),
    xattrs: fc.array(
      fc.tuple(fc.string({ unit: fc.constantFrom(..."abc."), minLength: 1 }), fc.uint8Array()),
    ),
  })
  .map(({ target, content, xattrs, ...fields }) => {
    const type = fields.type;
    const bytes = Buffer.from(type === "file" ? content : []);
    const entry = entryOf({
      ...fields,
      linkName: type === "hardlink" || type === "symlink" ? target : "",
      size: bytes.length,
      major: type === "character-device" ? 8 : 0,
      minor: type === "character-device" ? 1 : 0,
      xattrs: new Map(xattrs.map(([key, value]) => [`user.${key}`, Buffer.from(value)])),
    });
    return { entry, content: bytes };
  });

test("what is written is read back, however the bytes arrive", () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryEntry, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 }),
      (entries, pieces) => {
        const archive = Buffer.concat([
          ...entries.flatMap(({ entry, content }) => [
            encodeEntry(entry),
            content,
            paddingFor(content.length),
          ]),
          endOfArchive,
        ]);
        const read = readAll(archive, pieces);
        for (const { entry } of read) {
          entry.accessedAt = undefined;
          if (entry.type === "directory") entry.name = entry.name.replace(/\/$/, "");
        }
        assert.deepEqual(read, entries);
      },
    ),
    { numRuns: 200 },
  );
});

test("pax records count their own length", () => {
  for (const size of [1, 5, 6, 7, 90, 91, 92, 93, 94, 95, 96, 990, 991, 992, 993, 9985, 9990]) {
    const record = encodePaxRecord("k", "v".repeat(size));
    assert.equal(Number.parseInt(record.toString(), 10), record.length);
    assert.deepEqual(parsePax(record, 0), [{ key: "k", value: Buffer.from("v".repeat(size)) }]);
  }
});

test("times keep nanoseconds, also before 1970", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), (time) => {
      assert.equal(parsePaxTime(formatPaxTime(time)), time);
    }),
  );
  assert.equal(parsePaxTime("1.5"), 1_500_000_000n);
  assert.equal(parsePaxTime("-0.000000001"), -1n);
  assert.equal(parsePaxTime("1.1234567899"), 1_123_456_789n);
  for (const bad of ["", "x", "1e9", "0x1", "1.-5", " 1"]) assert.equal(parsePaxTime(bad), undefined, bad);
});

test("GNU long names and base-256 numbers are understood", () => {
  const long = "long/".repeat(60);
  const binary = Buffer.alloc(8);
  binary.writeUInt32BE(0x80000000);
  binary.writeUInt32BE(3_000_000_000, 4);
  const negativeTime = Buffer.alloc(12, 0xff);
  let header = patched(headerOf({ typeFlag: "2", name: "short" }), 108, binary);
  header = patched(header, 136, negativeTime);
  const archive = Buffer.concat([block("L", `${long}\0`), block("K", "target\0junk"), header, endOfArchive]);
  const [read] = readAll(archive);
  assert.equal(read?.entry.name, long);
  assert.equal(read?.entry.linkName, "target");
  assert.equal(read?.entry.uid, 3_000_000_000);
  assert.equal(read?.entry.modifiedAt, -1_000_000_000n);
});

test("attributes are read in both encodings; the exact one wins", () => {
  const records = Buffer.concat([
    encodePaxRecord("LIBARCHIVE.xattr.user.a%20b", Buffer.from([0, 255]).toString("base64")),
    encodePaxRecord("SCHILY.xattr.user.c", Buffer.from([1, 0, 10])),
    encodePaxRecord("LIBARCHIVE.xattr.user.c", "AAAA"),
  ]);
  const [read] = readAll(Buffer.concat([block("x", records), headerOf({}), endOfArchive]));
  assert.deepEqual(
    read?.entry.xattrs,
    new Map([
      ["user.a b", Buffer.from([0, 255])],
      ["user.c", Buffer.from([1, 0, 10])],
    ]),
  );
});

test("a sparse map in pax 1.0 form puts the data where it belongs", () => {
  const map = "2\n512\n3\n2048\n5\n".padEnd(512, "\0");
  const records = Buffer.concat([
    encodePaxRecord("GNU.sparse.major", "1"),
    encodePaxRecord("GNU.sparse.minor", "0"),
    encodePaxRecord("GNU.sparse.name", "real"),
    encodePaxRecord("GNU.sparse.realsize", "4096"),
  ]);
  const archive = Buffer.concat([block("x", records), block("0", `${map}abcdefgh`), endOfArchive]);
  for (const pieces of [[archive.length], [7], [513]]) {
    const [read] = readAll(archive, pieces);
    assert.equal(read?.entry.name, "real");
    assert.equal(read?.entry.size, 4096);
    assert.equal(read?.content.toString("latin1", 512, 515), "abc");
    assert.equal(read?.content.toString("latin1", 2048, 2053), "defgh");
  }
});

const sparse = (map: string, size: string, data: string) => {
  const records = [
    ["GNU.sparse.map", map],
    ["GNU.sparse.size", size],
  ] as const;
  return Buffer.concat([
    block("x", Buffer.concat(records.map(([key, value]) => encodePaxRecord(key, value)))),
    block("0", data),
    endOfArchive,
  ]);
};

const malformed: [what: string, archive: Buffer][] = [
  ["a wrong checksum", patched(headerOf({}), 0, Buffer.from("x")).fill("y", 0, 1)],
  ["text instead of a number", patched(headerOf({}), 108, Buffer.from("hello\0\0\0"))],
  ["a negative size", patched(headerOf({}), 124, Buffer.alloc(12, 0xff))],
  ["a size beyond 2^53", patched(headerOf({}), 124, Buffer.from([0x80, 0, 0, 0, 0x7f, ...Buffer.alloc(7)]))],
  ["an owner out of range", patched(headerOf({}), 108, Buffer.from([0x80, 0, 0, 1, 0, 0, 0, 0]))],
  ["an unknown type", Buffer.concat([headerOf({ typeFlag: "M" }), endOfArchive])],
  ["a huge extended header", headerOf({ typeFlag: "x", size: maxHeaderBytes + 1 })],
  ["a huge long name", headerOf({ typeFlag: "L", size: 2 ** 33 - 1 })],
  ["a pax record without length", Buffer.concat([block("x", "path=foo\n"), headerOf({})])],
  ["a pax record that is too long", Buffer.concat([block("x", "99 path=foo\n"), headerOf({})])],
  ["a pax record of length zero", Buffer.concat([block("x", "0 a=b\n"), headerOf({})])],
  ["a pax record without key", Buffer.concat([block("x", "5 =b\n"), headerOf({})])],
  ["a NUL in a pax name", Buffer.concat([block("x", encodePaxRecord("path", "a\0b")), headerOf({})])],
  ["a pax size that is no number", Buffer.concat([block("x", encodePaxRecord("size", "-1")), headerOf({})])],
  ["the end after an extended header", Buffer.concat([block("x", encodePaxRecord("a", "b")), endOfArchive])],
  ["an end in a header", headerOf({}).subarray(0, 100)],
  ["an end in a content", headerOf({ size: 1000 })],
  ["an end in the padding", Buffer.concat([headerOf({ size: 3 }), Buffer.from("abc")])],
  ["one zero block and then more", Buffer.concat([Buffer.alloc(512), headerOf({})])],
  ["a sparse map out of order", sparse("10,1,5,1", "100", "ab")],
  ["a sparse map that overlaps", sparse("0,10,5,10", "100", "x".repeat(20))],
  ["a sparse map beyond the size", sparse("0,1,99,2", "100", "abc")],
  ["a sparse map without its data", sparse("0,10", "100", "abc")],
  ["an odd sparse map", sparse("0,1,5", "100", "a")],
  ["a sparse map of words", sparse("a,b", "100", "a")],
];

for (const [what, archive] of malformed) {
  test(`${what} is refused`, () => {
    assert.throws(
      () => readAll(archive),
      (error) => isBerthError(error, "invalid"),
      what,
    );
  });
}

test("no bytes at all, the end mark alone and garbage after it are fine", () => {
  assert.deepEqual(readAll(Buffer.alloc(0)), []);
  assert.deepEqual(readAll(endOfArchive), []);
  assert.equal(readAll(Buffer.concat([headerOf({}), endOfArchive, Buffer.from("garbage")])).length, 1);
  // Many writers leave the end mark out.
  assert.equal(readAll(headerOf({})).length, 1);
});

test("any damage gives entries or a clear error, never another one", () => {
  const archive = Buffer.concat([
    encodeEntry(
      entryOf({ name: "a".repeat(300), modifiedAt: 5n, xattrs: new Map([["user.x", Buffer.from("y")]]) }),
    ),
    encodeEntry(entryOf({ type: "directory", name: "dir" })),
    headerOf({ size: 700 }),
    Buffer.alloc(1024, 1),
    sparse("0,1,50,2", "100", "abc"),
  ]);
  const damage = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 8,
  });
  fc.assert(
    fc.property(damage, fc.boolean(), fc.nat(archive.length), (changes, repair, cut) => {
      let copy = Buffer.from(archive);
      for (const [at, byte] of changes) copy[at] = byte;
      // Right checksums let the damage reach further in.
      if (repair) {
        for (let at = 0; at < copy.length; at += 512) {
          if (copy.toString("latin1", at + 257, at + 262) !== "ustar") continue;
          patched(copy.subarray(at, at + 512), 0, Buffer.alloc(0)).copy(copy, at);
        }
      }
      copy = copy.subarray(0, cut);
      try {
        readAll(copy, [600]);
      } catch (error) {
        if (!isBerthError(error, "invalid")) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});
