/**
 * What a client keeps so that a crash of it loses and doubles nothing.
 *
 * The one rule: when {@link Store.apply} resolves, its changes survive. The client writes nothing to the server that
 * depends on a change before that.
 */
/** Whether both are the same device of the same user. */
export function same(a, b) {
    return a.user === b.user && a.device === b.device;
}
