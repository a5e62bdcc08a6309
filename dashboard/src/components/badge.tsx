export type Tone = "good" | "warn" | "bad" | "quiet";
const SIGNS: Record<Tone, string> = { good: "✓", warn: "!", bad: "✕", quiet: "–" };

/** How something stands: a word with a sign, and a colour for who sees it. */
export function Badge({ tone, text }: { tone: Tone; text: string }) {
  return (
    <span class={`badge ${tone}`}>
      <span aria-hidden="true">{SIGNS[tone]} </span>
      {text}
    </span>
  );
}
