/** Bytes: what is not larger is verified before its first byte is served, and kept in memory when it is asked for. */
export const smallSize = 64 * 1024
