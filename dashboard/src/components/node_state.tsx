import type { NodeRow } from "../data/api_types";
import { count, number, t } from "../text/text";
import { Badge } from "./badge";

/** How a node stands, the worst first. */
export function NodeState({ row }: { row: NodeRow }) {
  if (row.inDoubt) return <Badge tone="bad" text={t("state_in_doubt")} />;
  if (!row.connected) return <Badge tone="bad" text={t("state_offline")} />;
  if (row.failing) return <Badge tone="bad" text={count("state_failing", row.failing)} />;
  if (row.refused) return <Badge tone="bad" text={count("state_refused", row.refused)} />;
  if (row.board && row.board.state !== "online") return <Badge tone="warn" text={t(`board_${row.board.state}`)} />;
  if (row.pending) return <Badge tone="warn" text={count("state_pending", row.pending)} />;
  if (row.drainedUs) return <Badge tone="quiet" text={t("state_drained")} />;
  return <Badge tone="good" text={t("state_fine")} />;
}

export const labelsText = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(" ");

/** The records in the buffer of a node; of one that is away, as it told last. */
export function buffer(row: NodeRow): string {
  if (row.bufferRecords === null) return "–";
  return row.connected ? number(row.bufferRecords) : t("buffer_then", { n: number(row.bufferRecords) });
}
