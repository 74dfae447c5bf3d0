/** What the page asks of the server over HTTP. */
/** A request that did not succeed, in words for people. */
export class ApiError extends Error {
    status;
    constructor(status, message) {
        super(message);
        this.status = status;
        this.name = "ApiError";
    }
}
/** Asks for JSON. Throws {@link ApiError} with the problem's text. */
export async function ask(path, init = {}) {
    let response;
    try {
        response = await fetch(path, { cache: "no-store", ...init });
    }
    catch {
        throw new ApiError(0, "The server cannot be reached.");
    }
    const body = (await response.json().catch(() => ({})));
    if (response.ok)
        return body;
    const detail = body["detail"] ?? body["title"] ?? response.statusText;
    throw new ApiError(response.status, `The server said ${response.status}: ${String(detail)}`);
}
/** `GET /api/v1/info`. */
export async function info() {
    const body = await ask("/api/v1/info");
    const secure = body["tls"] === true || location.protocol === "https:";
    const made = `${secure ? "wss" : "ws"}://${location.hostname}:${String(body["ws_port"])}/ws`;
    return {
        version: String(body["version"]),
        wsUrl: typeof body["ws_url"] === "string" ? body["ws_url"] : made,
        development: body["development"] === true,
    };
}
/** `POST /api/v1/dev/token`: a token for the asking, in development only. */
export async function developmentToken(user, device) {
    const body = JSON.stringify({ user_id: user, device_id: device });
    const answer = await ask("/api/v1/dev/token", { method: "POST", headers: { "content-type": "application/json" }, body });
    return String(answer["token"]);
}
