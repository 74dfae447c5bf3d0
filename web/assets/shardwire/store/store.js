/**
 * What a client keeps so that a crash of it loses and doubles nothing.
 *
 * The one rule: when {@link Store.apply} resolves, its changes survive. The client writes nothing to the server that
 * depends on a change before that.
 */
export {};
