/**
 * Sets and maps of nf_tables: what a rule looks packets up in. Pure: bytes out.
 *
 * A key of several fields is their bytes one after the other, each filled up to four. Constants:
 * linux/netfilter/nf_tables.h; the numbers of data types are nft's own, by which it prints them.
 */
import { type MessageWriter, NLM_F_CREATE } from "#kernel/netlink/message-codec.ts";
import {
  type BatchMessage,
  be32,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
  request,
} from "#kernel/netlink/nftables-messages.ts";

const NFT_MSG_NEWSET = 9;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_DELSETELEM = 14;

const SET = {
  TABLE: 1,
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LEN: 5,
  DATA_TYPE: 6,
  DATA_LEN: 7,
  ID: 10,
  USERDATA: 13,
} as const;
const ELEMENTS = { TABLE: 1, SET: 2, LIST: 3 } as const;
const ELEMENT = { KEY: 1, DATA: 2 } as const;
const NFT_SET_MAP = 0x8;
const NFT_DATA_VERDICT = 0xffffff00;
const NFTA_DATA_VERDICT = 2;
const VERDICT = { CODE: 1, CHAIN: 2 } as const;
export const NFT_JUMP = -3;

/** Fields of keys and data: nft's number of the type, and bytes. */
export const FIELDS = {
  ipv4: { type: 7, size: 4 },
  ipv6: { type: 8, size: 16 },
  protocol: { type: 12, size: 1 },
  port: { type: 13, size: 2 },
  interface: { type: 41, size: 16 },
} as const;

export type FieldName = keyof typeof FIELDS;
/** How nft packs the types of fields into one number. */
const TYPE_BITS = 6;

/** What nft wants to be told of keys in host order, to print them right: type 0, four bytes, 1. */
const hostOrder = Uint8Array.of(0, 4, 1, 0, 0, 0);

/** How many bytes each field takes. */
function padded(size: number): number {
  return (size + 3) & ~3;
}

/** Several fields' bytes as one key, or one datum. */
export function joined(...fields: readonly Uint8Array[]): Buffer {
  if (fields.length === 1 && fields[0] !== undefined) return Buffer.from(fields[0]);
  return Buffer.concat(
    fields.map((field) => Buffer.concat([field, Buffer.alloc(padded(field.length) - field.length)])),
  );
}

function typeOf(fields: readonly FieldName[]): number {
  return fields.reduce((type, name) => (type << TYPE_BITS) | FIELDS[name].type, 0);
}

function sizeOf(fields: readonly FieldName[]): number {
  const [only, ...others] = fields;
  if (only !== undefined && others.length === 0) return FIELDS[only].size;
  return fields.reduce((sum, name) => sum + padded(FIELDS[name].size), 0);
}

/**
 * A set, or a map where `data` says of what: fields, or verdicts (chains to jump to). `id`: any number that no other new
 * set of the batch has.
 */
export function newSet(
  family: number,
  table: string,
  set: { name: string; id: number; key: readonly FieldName[]; data?: readonly FieldName[] | "verdict" },
): BatchMessage {
  const message = request(NFT_MSG_NEWSET, NLM_F_CREATE, family);
  message.text(SET.TABLE, table);
  message.text(SET.NAME, set.name);
  message.attribute(SET.FLAGS, be32(set.data === undefined ? 0 : NFT_SET_MAP));
  message.attribute(SET.KEY_TYPE, be32(typeOf(set.key)));
  message.attribute(SET.KEY_LEN, be32(sizeOf(set.key)));
  if (set.data === "verdict") message.attribute(SET.DATA_TYPE, be32(NFT_DATA_VERDICT));
  else if (set.data !== undefined) {
    message.attribute(SET.DATA_TYPE, be32(typeOf(set.data)));
    message.attribute(SET.DATA_LEN, be32(sizeOf(set.data)));
  }
  message.attribute(SET.ID, be32(set.id));
  if (set.key.join() === "interface") message.attribute(SET.USERDATA, hostOrder);
  return message;
}

export interface SetElement {
  key: Uint8Array;
  /** Of a map: bytes, or the name of the chain to jump to. */
  data?: Uint8Array | string;
}

/** As many as fit into one attribute, which has sixteen bits for its length, whatever they are. */
const AT_ONCE = 400;

/** Adds elements; EBUSY where a key is there with other data. */
export function addElements(
  family: number,
  table: string,
  set: string,
  elements: readonly SetElement[],
): BatchMessage[] {
  return elementMessages(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, table, set, elements);
}

/** Removes elements by their keys; ENOENT where one is not there. */
export function removeElements(
  family: number,
  table: string,
  set: string,
  elements: readonly SetElement[],
): BatchMessage[] {
  const keys = elements.map(({ key }) => ({ key }));
  return elementMessages(NFT_MSG_DELSETELEM, 0, family, table, set, keys);
}

function elementMessages(
  type: number,
  flags: number,
  family: number,
  table: string,
  set: string,
  elements: readonly SetElement[],
): BatchMessage[] {
  const messages: BatchMessage[] = [];
  for (let first = 0; first < elements.length; first += AT_ONCE) {
    const message = request(type, flags, family);
    message.text(ELEMENTS.TABLE, table);
    message.text(ELEMENTS.SET, set);
    message.nested(ELEMENTS.LIST, () => {
      for (const { key, data } of elements.slice(first, first + AT_ONCE)) {
        message.nested(NFTA_LIST_ELEM, () => {
          message.nested(ELEMENT.KEY, () => message.attribute(NFTA_DATA_VALUE, key));
          if (data !== undefined) message.nested(ELEMENT.DATA, () => writeData(message, data));
        });
      }
    });
    messages.push(message);
  }
  return messages;
}

function writeData(message: MessageWriter, data: Uint8Array | string): void {
  if (typeof data === "string") writeVerdict(message, NFT_JUMP, data);
  else message.attribute(NFTA_DATA_VALUE, data);
}

/** A verdict as data: of a map's element, or of a rule. */
export function writeVerdict(message: MessageWriter, code: number, chain?: string): void {
  message.nested(NFTA_DATA_VERDICT, () => {
    message.attribute(VERDICT.CODE, be32(code));
    if (chain !== undefined) message.text(VERDICT.CHAIN, chain);
  });
}
