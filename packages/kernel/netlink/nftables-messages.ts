/**
 * nf_tables: batches of requests that the kernel does together or not at all, and the expressions rules are made of.
 * Pure: bytes out.
 *
 * All numbers in attributes are in network order. Constants: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
 */
import {
  type Message,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  parseAttributes,
  setSequence,
} from "#kernel/netlink/message-codec.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_GETGEN = 16;
const NLM_F_APPEND = 0x800;

export const NFPROTO_IPV4 = 2;
export const NFPROTO_IPV6 = 10;
export const NF_INET_PRE_ROUTING = 0;
export const NF_INET_FORWARD = 2;
export const NF_INET_LOCAL_OUT = 3;
export const NF_INET_POST_ROUTING = 4;

const NFTA_TABLE_NAME = 1;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_TYPE = 7;
const NFTA_HOOK_HOOKNUM = 1;
const NFTA_HOOK_PRIORITY = 2;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_HANDLE = 3;
const NFTA_RULE_EXPRESSIONS = 4;
export const NFTA_LIST_ELEM = 1;
const NFTA_EXPR_NAME = 1;
const NFTA_EXPR_DATA = 2;
export const NFTA_DATA_VALUE = 1;
const NFTA_GEN_ID = 1;
const NFT_REG_1 = 1;

/** One message of a batch. */
export type BatchMessage = MessageWriter;

/** What a rule does, one step after the other. */
export interface Expression {
  name: string;
  write(message: MessageWriter): void;
}

/** A number as attributes have it. */
export function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

/** A message of nf_tables with its family, without attributes. */
export function request(type: number, flags: number, family: number): MessageWriter {
  return new MessageWriter((NFNL_SUBSYS_NFTABLES << 8) | type, flags).bytes(Uint8Array.of(family, 0, 0, 0));
}

/** There are no errors if it is there already. */
export function newTable(family: number, name: string): BatchMessage {
  const message = request(NFT_MSG_NEWTABLE, NLM_F_CREATE, family);
  message.text(NFTA_TABLE_NAME, name);
  return message;
}

/** With all that is in it; ENOENT if there is none. */
export function deleteTable(family: number, name: string): BatchMessage {
  const message = request(NFT_MSG_DELTABLE, 0, family);
  message.text(NFTA_TABLE_NAME, name);
  return message;
}

/** A chain at a hook of the stack; lower priorities see packets earlier. "nat" ones see a connection's first alone. */
export function newBaseChain(
  family: number,
  table: string,
  name: string,
  at: { hook: number; priority: number },
  type: "filter" | "nat" = "filter",
): BatchMessage {
  const message = request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family);
  message.text(NFTA_CHAIN_TABLE, table);
  message.text(NFTA_CHAIN_NAME, name);
  message.nested(NFTA_CHAIN_HOOK, () => {
    message.attribute(NFTA_HOOK_HOOKNUM, be32(at.hook));
    message.attribute(NFTA_HOOK_PRIORITY, be32(at.priority));
  });
  message.text(NFTA_CHAIN_TYPE, type);
  return message;
}

/** A chain that rules jump to. */
export function newChain(family: number, table: string, name: string): BatchMessage {
  const message = request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family);
  message.text(NFTA_CHAIN_TABLE, table);
  message.text(NFTA_CHAIN_NAME, name);
  return message;
}

/** A rule behind those the chain has. */
export function newRule(
  family: number,
  table: string,
  chain: string,
  expressions: readonly Expression[],
): BatchMessage {
  const message = request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family);
  message.text(NFTA_RULE_TABLE, table);
  message.text(NFTA_RULE_CHAIN, chain);
  message.nested(NFTA_RULE_EXPRESSIONS, () => {
    for (const expression of expressions) {
      message.nested(NFTA_LIST_ELEM, () => {
        message.text(NFTA_EXPR_NAME, expression.name);
        message.nested(NFTA_EXPR_DATA, () => expression.write(message));
      });
    }
  });
  return message;
}

const META = { DREG: 1, KEY: 2 } as const;
const NFT_META_L4PROTO = 16;
const PAYLOAD = { DREG: 1, BASE: 2, OFFSET: 3, LEN: 4, SREG: 5, CSUM_TYPE: 6, CSUM_OFFSET: 7 } as const;
const NFT_PAYLOAD_CSUM_INET = 1;
const CMP = { SREG: 1, OP: 2, DATA: 3 } as const;
const NFT_CMP_EQ = 0;
const IMMEDIATE = { DREG: 1, DATA: 2 } as const;

export const NETWORK_HEADER = 1;
export const TRANSPORT_HEADER = 2;

/** A field of the packet: from the network (1) or transport (2) header on. */
export interface Field {
  base: number;
  offset: number;
  length: number;
}

/** Goes on if the packet's transport protocol is this one (IPPROTO_…). */
export function protocolIs(protocol: number): Expression[] {
  return [
    {
      name: "meta",
      write: (message) => {
        message.attribute(META.KEY, be32(NFT_META_L4PROTO));
        message.attribute(META.DREG, be32(NFT_REG_1));
      },
    },
    equals(Uint8Array.of(protocol)),
  ];
}

/** Goes on if the field has this value. */
export function fieldIs(field: Field, value: Uint8Array): Expression[] {
  return [
    {
      name: "payload",
      write: (message) => {
        message.attribute(PAYLOAD.DREG, be32(NFT_REG_1));
        writeField(message, field);
      },
    },
    equals(value),
  ];
}

/** Writes the field, and keeps the sum at `checksumAt` of the transport header right. */
export function setField(field: Field, value: Uint8Array, checksumAt: number): Expression[] {
  return [
    {
      name: "immediate",
      write: (message) => {
        message.attribute(IMMEDIATE.DREG, be32(NFT_REG_1));
        message.nested(IMMEDIATE.DATA, () => message.attribute(NFTA_DATA_VALUE, value));
      },
    },
    {
      name: "payload",
      write: (message) => {
        message.attribute(PAYLOAD.SREG, be32(NFT_REG_1));
        writeField(message, field);
        message.attribute(PAYLOAD.CSUM_TYPE, be32(NFT_PAYLOAD_CSUM_INET));
        message.attribute(PAYLOAD.CSUM_OFFSET, be32(checksumAt));
      },
    },
  ];
}

function writeField(message: MessageWriter, field: Field): void {
  message.attribute(PAYLOAD.BASE, be32(field.base));
  message.attribute(PAYLOAD.OFFSET, be32(field.offset));
  message.attribute(PAYLOAD.LEN, be32(field.length));
}

function equals(value: Uint8Array): Expression {
  return {
    name: "cmp",
    write: (message) => {
      message.attribute(CMP.SREG, be32(NFT_REG_1));
      message.attribute(CMP.OP, be32(NFT_CMP_EQ));
      message.nested(CMP.DATA, () => message.attribute(NFTA_DATA_VALUE, value));
    },
  };
}

/**
 * All of them in one datagram. Its answers: the first failure, or the acknowledgement of the last one once everything is
 * done.
 */
export function batch(messages: readonly BatchMessage[]): Buffer {
  const bounds = (type: number): Buffer =>
    new MessageWriter(type, 0).bytes(Uint8Array.of(0, 0, 0, NFNL_SUBSYS_NFTABLES)).finish();
  const parts = messages.map((message) => message.finish());
  const last = parts.at(-1);
  if (last !== undefined) last.writeUInt16LE(last.readUInt16LE(6) | NLM_F_ACK, 6);
  const all = [bounds(NFNL_MSG_BATCH_BEGIN), ...parts, bounds(NFNL_MSG_BATCH_END)];
  for (const [index, part] of all.entries()) setSequence(part, index + 1);
  return Buffer.concat(all);
}

/** Asks for the generation of the rule set, acknowledged: refused where the kernel has no nf_tables. */
export function getGeneration(): Buffer {
  return request(NFT_MSG_GETGEN, NLM_F_ACK, 0).finish();
}

/** The answer to `getGeneration`: a number that each change of any rule by anybody makes another. */
export function parseGeneration(answer: Message): number {
  return parseAttributes(answer.payload, 4).get(NFTA_GEN_ID)?.readUInt32BE(0) ?? 0;
}

/** Asks for all rules of a table; none where there is no such table. */
export function dumpRules(family: number, table: string): Buffer {
  const message = request(NFT_MSG_GETRULE, NLM_F_DUMP, family);
  message.text(NFTA_RULE_TABLE, table);
  return message.finish();
}

/** The number of a rule, which no other rule of its table has had or will have. */
export function parseRuleHandle(answer: Message): bigint {
  return parseAttributes(answer.payload, 4).get(NFTA_RULE_HANDLE)?.readBigUInt64BE(0) ?? 0n;
}
