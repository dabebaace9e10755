/** Pointers, for structures that hold them (sock_fprog, iovec and their like). */
export { addressOf } from "#kernel/libc.ts";
