// The words of the page, in the language of the reader. A dictionary is loaded when it is chosen.
import { batch, signal } from "@preact/signals";
import type en from "./en.json";
import type rollout from "./rollout.en.json";
import type why from "./why.en.json";

export type Key = keyof typeof en | keyof typeof rollout | keyof typeof why;
/** A key of which there is `KEY_one` and `KEY_other`, for a number. */
export type CountKey = { [K in Key]: K extends `${infer Base}_one` ? (`${Base}_other` extends Key ? Base : never) : never }[Key];
export type Language = "en" | "fr";
type Dictionary = Record<string, string>;
type Load = () => Promise<{ default: Dictionary }>;

const STORED = "eyeflow-language";
/** What every page says, and what only some pages say: that is loaded with the first of them. */
export type Part = "every" | "rollout" | "why";
const DICTIONARIES: Record<Language, Record<Part, Load>> = {
  en: { every: () => import("./en.json"), rollout: () => import("./rollout.en.json"), why: () => import("./why.en.json") },
  fr: { every: () => import("./fr.json"), rollout: () => import("./rollout.fr.json"), why: () => import("./why.fr.json") },
};
const learned = new Set<Part>(["every"]);

export const language = signal<Language>("en");
const dictionary = signal<Dictionary | null>(null);

/** Return the language to begin with: chosen before, or the browser's. */
export function usualLanguage(): Language {
  const chosen = stored(STORED);
  if (chosen === "en" || chosen === "fr") return chosen;
  return navigator.languages.find((one) => /^(en|fr)\b/.test(one))?.startsWith("fr") ? "fr" : "en";
}

/** Speak a language from now on. */
export async function speak(next: Language): Promise<void> {
  const loaded = await Promise.all([...learned].map((part) => DICTIONARIES[next][part]()));
  batch(() => {
    dictionary.value = Object.assign({}, ...loaded.map((one) => one.default)) as Dictionary;
    language.value = next;
  });
  document.documentElement.lang = next;
  store(STORED, next);
}

/** Learn the words of some pages, too. */
export async function learn(part: Part): Promise<void> {
  learned.add(part);
  const loaded = await DICTIONARIES[language.peek()][part]();
  dictionary.value = { ...dictionary.peek(), ...loaded.default };
}

/** Return a text, with the values of its {names}. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = dictionary.value?.[key] ?? "";
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** Return a text that counts; {n} is the number. */
export function count(key: CountKey, n: number, values: Record<string, string | number> = {}): string {
  const form = new Intl.PluralRules(language.value).select(n) === "one" ? "one" : "other";
  return t(`${key}_${form}` as Key, { n: number(n), ...values });
}

/** Return a number as the language writes it; null is a dash, read as "unknown". */
export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined) return "–";
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value);
}

/** Return a number of any size, short: what is huge in powers of ten. */
export function short(value: number): string {
  const notation = Math.abs(value) >= 1e6 ? "scientific" : "standard";
  return new Intl.NumberFormat(language.value, { maximumSignificantDigits: 3, notation }).format(value);
}

/** Return several things as the language lists them: "a, b and c". */
export const listed = (parts: readonly string[]): string =>
  new Intl.ListFormat(language.value, { type: "conjunction" }).format(parts);

export const percent = (value: number | null): string => (value === null ? "–" : `${number(value, 1)}\u202f%`);

export function stored(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is turned off
  }
}

export function store(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // The choice lasts as long as the tab.
  }
}
