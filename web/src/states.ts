/** How things stand, and who is signed in. */

/** How far an own message is. */
export type Progress = "waiting" | "sent" | "delivered" | "read" | "failed";

/** How the connection is. */
export type Status =
  | { readonly state: "connecting" }
  | { readonly state: "online" }
  | { readonly state: "waiting"; readonly untilMs: number }
  | { readonly state: "ended"; readonly text: string; readonly again: boolean };

/** Who signs in, and how tokens are had. */
export interface Account {
  readonly user: string;
  readonly device: number;
  readonly wsUrl: string;
  readonly token: () => Promise<string>;
}
