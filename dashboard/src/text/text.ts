// The words of the page, in the language of the reader. A dictionary is loaded when it is chosen.
import { signal } from "@preact/signals";
import type en from "./en.json";

export type Key = keyof typeof en;
/** A key of which there is `KEY_one` and `KEY_other`, for a number. */
export type CountKey = { [K in Key]: K extends `${infer Base}_one` ? (`${Base}_other` extends Key ? Base : never) : never }[Key];
export type Language = "en" | "fr";
type Dictionary = Record<Key, string>;

const STORED = "eyeflow-language";
const DICTIONARIES: Record<Language, () => Promise<{ default: Dictionary }>> = {
  en: () => import("./en.json"),
  fr: () => import("./fr.json"),
};

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
  const loaded = await DICTIONARIES[next]();
  dictionary.value = loaded.default;
  language.value = next;
  document.documentElement.lang = next;
  store(STORED, next);
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
