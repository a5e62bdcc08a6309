import type { ComponentChildren } from "preact";
import { pageOf } from "../pages";

const WHOLE_CHARS_MAX = 22; // a longer name breaks at its hyphens: a column that it does not fit would be too wide

/** A link to a page, or its text alone while there is no such page. */
export function PageLink({ to, children }: { to: string; children: ComponentChildren }) {
  if (!pageOf(to.split("?")[0] ?? to)) return <>{children}</>;
  const isWhole = typeof children === "string" && children.length <= WHOLE_CHARS_MAX;
  return (
    <a href={to} class={isWhole ? "whole" : undefined}>
      {children}
    </a>
  );
}

export const nodePath = (name: string) => `/nodes/${encodeURIComponent(name)}`;
