/**
 * Writing DNS answers into memory that is there already. Pure.
 *
 * Names in answers are pointers to the question, which is repeated as it came (some clients check its upper and lower
 * case). What does not fit is left out, and said to be.
 */
import {
  CLASS_IN,
  FLAG_CHECKING_DISABLED,
  FLAG_RECURSION_AVAILABLE,
  FLAG_RECURSION_DESIRED,
  FLAG_RESPONSE,
  FLAG_TRUNCATED,
  HEADER_SIZE,
  OPCODE_MASK,
  type Query,
  TYPE,
} from "#networks/dns/query.ts";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** Seconds a client may keep an answer; Docker's number. */
const TTL = 600;
/** Where the question's name is, as every answer points to it. */
const QUESTION_NAME = 0xc000 | HEADER_SIZE;
const RECORD_HEAD = 12;
/** The largest datagram asked for: what passes everywhere in one piece (the DNS flag day's number). */
const EDNS_SIZE = 1232;
const EDNS_LENGTH = 11;

/** The data of a record, and its type. */
export interface RecordData {
  type: number;
  data: Uint8Array;
}

/**
 * Writes a whole answer to `query`, whose message is at `from` of `question`, into `out` from `at`; at most `limit` bytes.
 * `records` begin with the one at `first` and go round. Returns the length.
 */
export function writeAnswer(
  out: Buffer,
  at: number,
  limit: number,
  query: Query,
  question: Buffer,
  from: number,
  rcode: number,
  records: readonly RecordData[] = [],
  first = 0,
): number {
  const kept = query.flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED);
  let flags = kept | FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | rcode;
  question.copy(out, at + HEADER_SIZE, from + HEADER_SIZE, from + query.end);
  let end = at + query.end;
  const room = at + limit - (query.edns ? EDNS_LENGTH : 0);
  let count = 0;
  for (let index = 0; index < records.length; index++) {
    const { type, data } = records[(first + index) % records.length] as RecordData;
    if (end + RECORD_HEAD + data.length > room) {
      flags |= FLAG_TRUNCATED;
      break;
    }
    out.writeUInt16BE(QUESTION_NAME, end);
    out.writeUInt16BE(type, end + 2);
    out.writeUInt16BE(CLASS_IN, end + 4);
    out.writeUInt32BE(TTL, end + 6);
    out.writeUInt16BE(data.length, end + 10);
    out.set(data, end + RECORD_HEAD);
    end += RECORD_HEAD + data.length;
    count++;
  }
  if (query.edns) {
    out[end] = 0;
    out.writeUInt16BE(TYPE.OPT, end + 1);
    out.writeUInt16BE(EDNS_SIZE, end + 3);
    out.writeUInt32BE(0, end + 5);
    out.writeUInt16BE(0, end + 9);
    end += EDNS_LENGTH;
  }
  out.writeUInt16BE(query.id, at);
  out.writeUInt16BE(flags, at + 2);
  out.writeUInt16BE(query.end > HEADER_SIZE ? 1 : 0, at + 4);
  out.writeUInt16BE(count, at + 6);
  out.writeUInt16BE(0, at + 8);
  out.writeUInt16BE(query.edns ? 1 : 0, at + 10);
  return end - at;
}

/** A name as it travels. Undefined if it is none: empty or overlong labels. */
export function encodeName(name: string): Buffer | undefined {
  const parts: Buffer[] = [];
  for (const label of name.replace(/\.$/, "").split(".")) {
    const bytes = Buffer.from(label, "utf8");
    if (bytes.length === 0 || bytes.length > 63) return undefined;
    parts.push(Buffer.from([bytes.length]), bytes);
  }
  const encoded = Buffer.concat([...parts, Buffer.alloc(1)]);
  return encoded.length <= 255 ? encoded : undefined;
}
