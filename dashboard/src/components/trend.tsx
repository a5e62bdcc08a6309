// Curves of what the coordinator keeps: the last day by minutes, or the last month by hours.
import type { ComponentChildren } from "preact";
import type { Trend } from "../data/api_types";
import { useRead } from "../data/lists";
import { choose, query } from "../shell/router";
import { t } from "../text/text";
import { Chart } from "./chart";
import { Reading } from "./reading";

const SPANS = ["minute", "hour"] as const;
const MINUTE_MS = 60_000;
export type Points = Trend["points"];

/** The curves of a path, which stands for the cluster or a node. What the reader chose stands in the address. */
export function Curves({ path, children }: { path: string; children: (points: Points) => ComponentChildren }) {
  const span = query.value.get("span") === "hour" ? "hour" : "minute";
  const trend = useRead<Trend>(path, { span }, () => false, MINUTE_MS);
  return (
    <section aria-labelledby="curves">
      <h2 id="curves">{t(`curves_title_${span}`)}</h2>
      <div class="actions" role="group" aria-labelledby="curves">
        {SPANS.map((one) => (
          <button key={one} type="button" aria-pressed={one === span} onClick={() => choose({ span: one === "minute" ? "" : one })}>
            {t(`curves_by_${one}`)}
          </button>
        ))}
      </div>
      <Reading read={trend}>{({ points }) => <div class="curves">{children(points)}</div>}</Reading>
    </section>
  );
}

export function ExecutionsChart({ points }: { points: Points }) {
  return (
    <Chart
      title={t("curves_executions")}
      unit={t("per_minute")}
      timesUs={points.map((one) => one.timeUs)}
      series={[
        { title: t("executions"), values: points.map((one) => one.executionsPerMinute) },
        { title: t("errors"), values: points.map((one) => one.errorsPerMinute), isDashed: true },
      ]}
    />
  );
}

export function MachineChart({ points }: { points: Points }) {
  return (
    <Chart
      title={t("curves_machine")}
      unit="%"
      timesUs={points.map((one) => one.timeUs)}
      series={[
        { title: t("processor"), values: points.map((one) => one.processorPercent) },
        { title: t("memory"), values: points.map((one) => one.memoryPercent), isDashed: true },
      ]}
    />
  );
}
