/**
 * What rules of nf_tables are made of, beyond fields of the packet (nftables-messages.ts). Pure: bytes out.
 *
 * An expression works on registers: numbers 8 to 23 are four bytes each, and what is longer takes several in a row.
 * Values of the kernel's own (not of the packet) are in host order. Constants: linux/netfilter/nf_tables.h.
 */
import type { MessageWriter } from "#kernel/netlink/message-codec.ts";
import { be32, type Expression, type Field, NFTA_DATA_VALUE } from "#kernel/netlink/nftables-messages.ts";
import { NFT_JUMP, writeVerdict } from "#kernel/netlink/nftables-sets.ts";

/** The first of the four-byte registers. */
export const REGISTER = 8;
/** Where the verdict is. */
const VERDICT_REGISTER = 0;

const META = { DREG: 1, KEY: 2 } as const;
export const META_KEYS = {
  inputName: 6,
  outputName: 7,
  protocol: 16,
  inputKind: 26,
  outputKind: 27,
} as const;
const PAYLOAD = { DREG: 1, BASE: 2, OFFSET: 3, LEN: 4 } as const;
const CMP = { SREG: 1, OP: 2, DATA: 3 } as const;
const NFT_CMP_EQ = 0;
const NFT_CMP_NEQ = 1;
const BITWISE = { SREG: 1, DREG: 2, LEN: 3, MASK: 4, XOR: 5 } as const;
const CT = { DREG: 1, KEY: 2 } as const;
export const CT_KEYS = { state: 0, status: 2 } as const;
/** Bits of a connection's state, and of its status (linux/netfilter/nf_conntrack_common.h). */
export const CT_ESTABLISHED = 1 << 1;
export const CT_RELATED = 1 << 2;
export const CT_DST_NAT = 1 << 5;
const FIB = { DREG: 1, RESULT: 2, FLAGS: 3 } as const;
const NFT_FIB_RESULT_ADDRTYPE = 3;
const NFTA_FIB_F_DADDR = 2;
/** linux/rtnetlink.h */
const RTN_LOCAL = 2;
const LOOKUP = { SET: 1, SREG: 2, DREG: 3, SET_ID: 4 } as const;
const IMMEDIATE = { DREG: 1, DATA: 2 } as const;
const NAT = { TYPE: 1, FAMILY: 2, ADDRESS: 3, PORT: 5 } as const;
const NFT_NAT_DNAT = 1;
const VERDICTS = { drop: 0, accept: 1, return: -5 } as const;

/** Puts something about the packet into a register. */
export function loadMeta(key: keyof typeof META_KEYS, register = REGISTER): Expression {
  return {
    name: "meta",
    write: (message) => {
      message.attribute(META.KEY, be32(META_KEYS[key]));
      message.attribute(META.DREG, be32(register));
    },
  };
}

/** Puts a field of the packet into a register. */
export function loadField(field: Field, register = REGISTER): Expression {
  return {
    name: "payload",
    write: (message) => {
      message.attribute(PAYLOAD.DREG, be32(register));
      message.attribute(PAYLOAD.BASE, be32(field.base));
      message.attribute(PAYLOAD.OFFSET, be32(field.offset));
      message.attribute(PAYLOAD.LEN, be32(field.length));
    },
  };
}

/** Goes on if the register has this value, or with `not` if it has another. */
export function compare(value: Uint8Array, not = false, register = REGISTER): Expression {
  return {
    name: "cmp",
    write: (message) => {
      message.attribute(CMP.SREG, be32(register));
      message.attribute(CMP.OP, be32(not ? NFT_CMP_NEQ : NFT_CMP_EQ));
      writeValue(message, CMP.DATA, value);
    },
  };
}

/** Keeps the bits of the register that are set in the mask. */
function mask(bits: Uint8Array): Expression {
  return {
    name: "bitwise",
    write: (message) => {
      message.attribute(BITWISE.SREG, be32(REGISTER));
      message.attribute(BITWISE.DREG, be32(REGISTER));
      message.attribute(BITWISE.LEN, be32(bits.length));
      writeValue(message, BITWISE.MASK, bits);
      writeValue(message, BITWISE.XOR, new Uint8Array(bits.length));
    },
  };
}

/** Goes on if the first `length` bits of the field are those of `value`. */
export function fieldWithin(field: Field, value: Uint8Array, length: number): Expression[] {
  const bits = Uint8Array.from(
    value,
    (_, at) => (0xff00 >> Math.min(Math.max(length - 8 * at, 0), 8)) & 0xff,
  );
  const masked = value.map((byte, at) => byte & (bits[at] ?? 0));
  return [loadField(field), ...(length === 8 * value.length ? [] : [mask(bits)]), compare(masked)];
}

/** Goes on if the packet comes in by (or goes out by, or with `not`: not by) this interface. */
export function interfaceIs(key: "inputName" | "outputName", name: string, not = false): Expression[] {
  return [loadMeta(key), compare(interfaceBytes(name), not)];
}

/** Goes on if the interface is of this kind ("bridge"); a real device is of none. */
export function kindIs(key: "inputKind" | "outputKind", kind: string): Expression[] {
  return [loadMeta(key), compare(interfaceBytes(kind))];
}

/** An interface's name as registers and keys have it. */
export function interfaceBytes(name: string): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}

/** Goes on if the connection has any of these bits. */
export function connectionHas(key: keyof typeof CT_KEYS, bits: number): Expression[] {
  return [
    {
      name: "ct",
      write: (message) => {
        message.attribute(CT.DREG, be32(REGISTER));
        message.attribute(CT.KEY, be32(CT_KEYS[key]));
      },
    },
    mask(host32(bits)),
    compare(host32(0), true),
  ];
}

/** Goes on if the packet is addressed to this host. */
export function toThisHost(): Expression[] {
  return [
    {
      name: "fib",
      write: (message) => {
        message.attribute(FIB.DREG, be32(REGISTER));
        message.attribute(FIB.RESULT, be32(NFT_FIB_RESULT_ADDRTYPE));
        message.attribute(FIB.FLAGS, be32(NFTA_FIB_F_DADDR));
      },
    },
    compare(host32(RTN_LOCAL)),
  ];
}

/** Goes on if the registers from the first on are a key of the set; a map's datum goes to registers from `to` on. */
export function lookUp(set: { name: string; id: number }, to?: number): Expression {
  return {
    name: "lookup",
    write: (message) => {
      message.text(LOOKUP.SET, set.name);
      message.attribute(LOOKUP.SREG, be32(REGISTER));
      if (to !== undefined) message.attribute(LOOKUP.DREG, be32(to));
      message.attribute(LOOKUP.SET_ID, be32(set.id));
    },
  };
}

/** As `lookUp` in a map of verdicts, and jumps. */
export function jumpBy(map: { name: string; id: number }): Expression {
  return lookUp(map, VERDICT_REGISTER);
}

/** What becomes of the packet. */
export function verdict(kind: keyof typeof VERDICTS): Expression {
  return immediateVerdict((message) => writeVerdict(message, VERDICTS[kind]));
}

export function jump(chain: string): Expression {
  return immediateVerdict((message) => writeVerdict(message, NFT_JUMP, chain));
}

function immediateVerdict(write: (message: MessageWriter) => void): Expression {
  return {
    name: "immediate",
    write: (message) => {
      message.attribute(IMMEDIATE.DREG, be32(VERDICT_REGISTER));
      message.nested(IMMEDIATE.DATA, () => write(message));
    },
  };
}

/** Gives the connection another destination, from registers. */
export function translateTo(family: number, address: number, port: number): Expression {
  return {
    name: "nat",
    write: (message) => {
      message.attribute(NAT.TYPE, be32(NFT_NAT_DNAT));
      message.attribute(NAT.FAMILY, be32(family));
      message.attribute(NAT.ADDRESS, be32(address));
      message.attribute(NAT.PORT, be32(port));
    },
  };
}

/** Gives the connection the address of the interface it leaves by. */
export const masquerade: Expression = { name: "masq", write: () => {} };

function writeValue(message: MessageWriter, type: number, value: Uint8Array): void {
  message.nested(type, () => message.attribute(NFTA_DATA_VALUE, value));
}

function host32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
