/** Times in words. */
/** The time of day. */
export const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
/** A time in words: `7 days`. */
export function duration(seconds) {
    const [size, name] = UNITS.find(([size]) => seconds % size === 0) ?? [1, "second"];
    const count = seconds / size;
    return `${count} ${name}${count === 1 ? "" : "s"}`;
}
/** The longest unit that gives a whole number of a time; seconds. */
const UNITS = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
