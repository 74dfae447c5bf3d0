/**
 * What client and server say to each other, whatever the encoding. Both codecs speak in these events, so everything above
 * a codec is the same for JSON and FlatBuffers.
 */
/** What came is not the protocol. */
export class BadFrame extends Error {
    /** `length`, `identifier` or `tables` as in the conformance vectors' manifest; `fields` for what cannot be meant. */
    reason;
    constructor(reason, detail) {
        super(`${reason}: ${detail}`);
        this.name = "BadFrame";
        this.reason = reason;
    }
}
