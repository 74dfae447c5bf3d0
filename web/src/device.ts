/**
 * Which device a tab is. Two tabs of one user are two devices; a tab that was closed leaves its device, with its history and
 * outbox, to the next one.
 */

const BASE_KEY = "shardwire.device";
const TABS_MAX = 64;

/** Claims a device number for as long as this tab lives. */
export async function claimDevice(user: string): Promise<number> {
  const base = ownBase();
  if (!("locks" in navigator)) return perTab(user);
  for (let n = 0; n < TABS_MAX; n++) {
    if (await hold(`shardwire ${user} ${base + n}`)) return base + n;
  }
  throw new Error(`This browser has ${TABS_MAX} tabs of this user open.`);
}

/** Takes a lock until the tab goes away; whether it was free. */
function hold(name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        // Never released by the page: the browser does it when the tab is gone.
        return lock === null ? undefined : new Promise<void>(() => {});
      })
      .catch(reject);
  });
}

/** This browser's first device: a number of its own, with room above for its tabs. */
function ownBase(): number {
  const kept = Number(localStorage.getItem(BASE_KEY));
  if (Number.isInteger(kept) && kept > 0) return kept;
  const base = 1 + (crypto.getRandomValues(new Uint32Array(1))[0]! % 0x7fff_0000);
  localStorage.setItem(BASE_KEY, String(base));
  return base;
}

/** Pages of insecure origins have no locks: a number a tab. */
function perTab(user: string): number {
  const key = `${BASE_KEY} ${user}`;
  const kept = Number(sessionStorage.getItem(key));
  if (Number.isInteger(kept) && kept > 0) return kept;
  const device = 0x8000_0000 + (crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1);
  sessionStorage.setItem(key, String(device));
  return device;
}
