// Times for the reader: in their zone, and in UTC for who compares logs.
import { signal } from "@preact/signals";
import { language } from "./text";

/** The time now, in whole minutes: what says "3 minutes ago" is drawn again as it grows. */
export const minute = signal(Math.floor(Date.now() / 60_000));
setInterval(() => (minute.value = Math.floor(Date.now() / 60_000)), 5_000);

const DAY_MS = 86_400_000;
const NEAR_MS = 100 * DAY_MS;

/** Return a moment in the reader's zone; the date stands there when it is not today, the year when that is long ago. */
export function local(ms: number, withSeconds = true): string {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  const isNear = Math.abs(Date.now() - ms) < NEAR_MS;
  return new Intl.DateTimeFormat(language.value, {
    ...(isToday ? {} : { ...(isNear ? {} : { year: "numeric" }), month: "short", day: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds ? { second: "2-digit" } : {}),
    hourCycle: "h23",
  }).format(ms);
}

/** Return the day of a moment, without its year. */
export const day = (ms: number): string => new Intl.DateTimeFormat(language.value, { month: "short", day: "numeric" }).format(ms);

/** Return a moment in UTC, as logs write it. */
export const utc = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;

/** Return how long ago a moment was, in one unit. */
export function ago(ms: number): string {
  minute.value; // drawn again as it grows
  const past = Math.max(0, Date.now() - ms);
  const [size, unit] = ([[DAY_MS, "day"], [3_600_000, "hour"], [60_000, "minute"]] as const).find(([one]) => past >= one) ?? [1_000, "second"];
  return new Intl.RelativeTimeFormat(language.value, { numeric: "always", style: "long" }).format(-Math.floor(past / size), unit);
}

/** Return a moment of an address (`2026-11-30T08:15:00Z`) in microseconds, undefined for what is none. */
export function pointUs(text: string): number | undefined {
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms < 0 ? undefined : ms * 1000;
}

/** Return a moment of an address as a field shows it: in the reader's zone. */
export function fieldOfTime(text: string): string {
  const us = pointUs(text);
  if (us === undefined) return "";
  const moment = new Date(us / 1000);
  return new Date(us / 1000 - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** Return what a field holds as an address has it. */
export function timeOfField(text: string): string {
  const ms = new Date(text).getTime();
  return Number.isNaN(ms) ? "" : new Date(ms).toISOString().replace(".000Z", "Z");
}

/** Return a time that passes, in its largest unit: "42 seconds". */
export function span(seconds: number): string {
  const [size, unit] = ([[86_400, "day"], [3_600, "hour"], [60, "minute"]] as const).find(([one]) => seconds >= one) ?? [1, "second"];
  return new Intl.NumberFormat(language.value, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: size > 1 ? 1 : 0 }).format(Math.ceil((10 * seconds) / size) / 10);
}
