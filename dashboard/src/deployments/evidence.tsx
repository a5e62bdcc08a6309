// What the verdict rests on: how often the new program failed, and the one that it is compared with.
import { Badge, type Tone } from "../components/badge";
import { Facts } from "../components/facts";
import { type Column, Table } from "../components/table";
import { Words } from "../components/words";
import type { Deployment } from "../data/api_types";
import { intervalText, verdictText } from "../data/deployments";
import { count, number, percent, short, t } from "../text/text";

type Verdict = NonNullable<Deployment["verdict"]>;
const TONES: Record<Verdict["kind"], Tone> = { pass: "good", fail: "bad", inconclusive: "warn", noData: "warn" };
type Seen = { who: string; executions: number; failures: number; interval: Verdict["interval"] };

export function Evidence({ deployment }: { deployment: Deployment }) {
  const { verdict } = deployment;
  if (!verdict) return null;
  const isBeside = ["canary", "shadow"].includes(deployment.strategy);
  const seen: Seen[] = [
    { who: t("evidence_new"), executions: verdict.executions, failures: verdict.failures, interval: verdict.interval },
    {
      who: t(isBeside ? "evidence_beside" : "evidence_before"),
      executions: verdict.executionsBefore,
      failures: verdict.failuresBefore,
      interval: verdict.intervalBefore,
    },
  ];
  return (
    <section aria-labelledby="evidence">
      <h2 id="evidence">{t("evidence_title")}</h2>
      {deployment.over && <p>{t("evidence_kept")}</p>}
      <Table caption={t("evidence_title")} columns={columns(verdict, seen)} rows={seen} keyOf={(one) => one.who} empty="" />
      <Facts
        rows={[
          [t("verdict"), <Badge tone={TONES[verdict.kind]} text={t(`verdict_${verdict.kind}`)} />],
          [t("reason"), verdictText(deployment) || <Words text={verdict.reason} />],
          [t("evidence_against"), t("evidence_of", { e: short(verdict.e), alarm: number(verdict.alarmE) })],
          verdict.differing > 0 && [t("differences_title"), count("would_differ", verdict.differing)],
        ]}
      />
    </section>
  );
}

function columns(verdict: Verdict, seen: readonly Seen[]): Column<Seen>[] {
  const most = Math.max(1, ...seen.map((one) => one.interval?.highPercent ?? 0));
  const rate = (one: Seen) => (one.executions ? percent((100 * one.failures) / one.executions) : "–");
  return [
    { title: t("program"), cell: (one) => one.who },
    { title: t(verdict.counts === "actions" ? "executions_acted" : "executions"), cell: (one) => number(one.executions), isNumber: true },
    { title: t("failures"), cell: (one) => number(one.failures), isNumber: true },
    { title: t("evidence_rate"), cell: rate, isNumber: true },
    { title: t("evidence_interval"), cell: (one) => intervalText(one.interval), isNumber: true },
    { title: t("evidence_picture"), cell: (one) => <Span seen={one} most={most} /> },
  ];
}

/** The interval as a line with the rate on it. Its numbers stand beside it. */
function Span({ seen, most }: { seen: Seen; most: number }) {
  if (!seen.interval) return <>–</>;
  const at = (value: number) => `${(98 * value) / most + 1}%`;
  const { lowPercent, highPercent } = seen.interval;
  return (
    <svg class="interval" aria-hidden="true" width="100%" height="16">
      <line class="scale" x1="1%" x2="99%" y1="8" y2="8" />
      <line x1={at(lowPercent)} x2={at(highPercent)} y1="8" y2="8" />
      <circle cx={at((100 * seen.failures) / seen.executions)} cy="8" r="5" />
    </svg>
  );
}
