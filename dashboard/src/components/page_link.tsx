import type { ComponentChildren } from "preact";
import { pageOf } from "../pages";

/** A link to a page, or its text alone while there is no such page. */
export function PageLink({ to, children }: { to: string; children: ComponentChildren }) {
  return pageOf(to.split("?")[0] ?? to) ? <a href={to}>{children}</a> : <>{children}</>;
}

export const nodePath = (name: string) => `/nodes/${encodeURIComponent(name)}`;
