// The pages: which address shows which, and which stand in the navigation. A new page is a line here and its file.
import type { ComponentType } from "preact";
import { type Key, type Part, learn } from "./text/text";

export type PageProps = { id: string };
export type Page = {
  /** The path; `:id` stands for a name or an id, which the page gets. */
  path: string;
  title: Key;
  /** Whether the navigation leads there. */
  isMain: boolean;
  load: () => Promise<{ default: ComponentType<PageProps> }>;
};

const withTexts = async <T>(part: Part, file: Promise<T>): Promise<T> => (await Promise.all([file, learn(part)]))[0];

export const PAGES: readonly Page[] = [
  { path: "/", title: "overview_title", isMain: true, load: () => import("./pages/overview") },
  { path: "/nodes", title: "nodes_title", isMain: true, load: () => import("./pages/nodes") },
  { path: "/nodes/:id", title: "node_title", isMain: false, load: () => import("./pages/node") },
  { path: "/rules", title: "rules", isMain: true, load: () => withTexts("rollout", import("./pages/rules")) },
  { path: "/rules/:id", title: "rule", isMain: false, load: () => withTexts("rollout", import("./pages/rule")) },
  { path: "/deployments", title: "deployments_title", isMain: true, load: () => withTexts("rollout", import("./pages/deployments")) },
  { path: "/deployments/new", title: "new_title", isMain: false, load: () => withTexts("rollout", import("./pages/new_deployment")) },
  { path: "/deployments/:id", title: "deployment", isMain: false, load: () => withTexts("rollout", import("./pages/deployment")) },
  { path: "/executions", title: "executions_title", isMain: true, load: () => import("./pages/executions") },
  { path: "/executions/:id", title: "execution", isMain: false, load: () => withTexts("why", import("./pages/execution")) },
  { path: "/alarms", title: "alarms_title", isMain: true, load: () => import("./pages/alarms") },
];

/** Return the page of a path with the name or id in it, undefined when there is none. */
export function pageOf(path: string): { page: Page; id: string } | undefined {
  for (const page of PAGES) {
    const [start, end] = page.path.split(":id");
    if (end === undefined ? path === page.path : start && path.startsWith(start) && path.length > start.length) {
      const id = end === undefined ? "" : decoded(path.slice(start?.length));
      if (!id.includes("/")) return { page, id };
    }
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
