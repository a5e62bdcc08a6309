import type { ComponentChildren } from "preact";

type Props = {
  /** What the text is called, for who does not see it. */
  name: string;
  text: string;
  /** What stands below a line, which is marked then; by the number of the line. */
  notes?: ReadonlyMap<number, ComponentChildren>;
};

/** The text of a rule with numbers of lines. */
export function SourceText({ name, text, notes }: Props) {
  return (
    <div class="scroll source" tabIndex={0} role="region" aria-label={name}>
      <ol>
        {text.split(/\r?\n/).map((line, at) => {
          const note = notes?.get(at + 1);
          return (
            <li key={at} class={note ? "marked" : undefined}>
              <code>{line || " "}</code>
              {note}
            </li>
          );
        })}
      </ol>
    </div>
  );
}
