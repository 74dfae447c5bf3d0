/**
 * SHA-256, for the ids of direct chats. Browsers have it only on secure origins and only as a promise; an id is wanted at
 * once and on any origin.
 */
const K = new Uint32Array(64);
const START = new Uint32Array(8);
/** The first 32 bits of the fractional part of a root of a prime, as FIPS 180-4 defines its constants. */
function fraction(root) {
    return Math.floor((root - Math.floor(root)) * 2 ** 32);
}
for (let candidate = 2, found = 0; found < 64; candidate++) {
    let prime = true;
    for (let d = 2; d * d <= candidate; d++)
        prime &&= candidate % d !== 0;
    if (!prime)
        continue;
    if (found < 8)
        START[found] = fraction(Math.sqrt(candidate));
    K[found++] = fraction(Math.cbrt(candidate));
}
const turn = (x, by) => (x >>> by) | (x << (32 - by));
/** The 32 bytes of the digest. */
export function sha256(message) {
    const padded = new Uint8Array(((message.length + 8) >> 6 << 6) + 64);
    padded.set(message);
    padded[message.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(message.length / 2 ** 29));
    view.setUint32(padded.length - 4, message.length << 3);
    const state = START.slice();
    const w = new Uint32Array(64);
    for (let at = 0; at < padded.length; at += 64) {
        for (let n = 0; n < 16; n++)
            w[n] = view.getUint32(at + 4 * n);
        block(state, w);
    }
    const digest = new DataView(new ArrayBuffer(32));
    state.forEach((word, n) => digest.setUint32(4 * n, word));
    return new Uint8Array(digest.buffer);
}
function block(state, w) {
    for (let n = 16; n < 64; n++) {
        const [x, y] = [w[n - 15], w[n - 2]];
        const s0 = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3);
        const s1 = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10);
        w[n] = w[n - 16] + s0 + w[n - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let n = 0; n < 64; n++) {
        const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[n] + w[n]) | 0;
        const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [a, b, c, d, e, f, g, h] = [(t1 + t2) | 0, a, b, c, (d + t1) | 0, e, f, g];
    }
    [a, b, c, d, e, f, g, h].forEach((word, n) => (state[n] = state[n] + word));
}
