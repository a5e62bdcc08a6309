import { useEffect, useRef } from "preact/hooks";
import { steps } from "../shell/router";

/** The heading of a page. It takes the focus when the reader came by a link, so that a screen reader begins there. */
export function Heading({ text }: { text: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const step = steps.value;
  useEffect(() => {
    document.title = `${text} · eyeflow`;
  }, [text]);
  useEffect(() => {
    if (step) heading.current?.focus();
  }, [step]);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {text}
    </h1>
  );
}
