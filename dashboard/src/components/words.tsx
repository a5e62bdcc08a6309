import { language } from "../text/text";

/**
 * A text of the coordinator, which speaks English: a screen reader must know. What stands in backticks is code. All of
 * it is put in as text, whatever it looks like. `lang` empty: it is in the language of the page.
 */
export function Words({ text, lang = "en" }: { text: string; lang?: string }) {
  const parts = text.split("`");
  return (
    <span lang={lang && lang !== language.value ? lang : undefined}>
      {parts.map((part, at) => (at % 2 && at < parts.length - 1 ? <code key={at}>{part}</code> : part))}
    </span>
  );
}
