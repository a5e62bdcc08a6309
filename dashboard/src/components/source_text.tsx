import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

type Props = {
  /** What the text is called, for who does not see it. */
  name: string;
  text: string;
  /** What stands below a line, which is marked then; by the number of the line. */
  notes?: ReadonlyMap<number, ComponentChildren>;
};

const ABOVE_PX = 60; // what stands before the first marked line belongs to it

/** The text of a rule with numbers of lines. The first marked line is in sight. */
export function SourceText({ name, text, notes }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const first = Math.min(...(notes?.keys() ?? []));
  useEffect(() => {
    const marked = box.current?.querySelector<HTMLElement>(".marked");
    if (box.current && marked) box.current.scrollTop = marked.offsetTop - ABOVE_PX;
  }, [text, first]);
  return (
    <div ref={box} class="scroll source" tabIndex={0} role="region" aria-label={name}>
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
