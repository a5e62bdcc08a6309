// How the tests of a version went, as somebody told the coordinator.
import type { RuleTest, RuleTests } from "../data/api_types";
import { names, useRead } from "../data/lists";
import { count, t } from "../text/text";
import { Badge } from "./badge";
import { Reading } from "./reading";
import { type Column, Table } from "./table";
import { Time } from "./time";
import { Words } from "./words";

export function TestResults({ program }: { program: string }) {
  const found = useRead<RuleTests>(`/api/programs/${encodeURIComponent(program)}/tests`, {}, (news) => names(news, ["program"], program));
  return (
    <section aria-labelledby="tests">
      <h2 id="tests">{t("tests_title")}</h2>
      <Reading read={found}>{(told) => (told.toldUs ? <Told told={told} /> : <p><Words text={t("tests_not_told")} lang="" /></p>)}</Reading>
    </section>
  );
}

function Told({ told }: { told: RuleTests }) {
  const failed = told.tests.filter((one) => !one.passed);
  const passed = told.tests.length - failed.length;
  return (
    <>
      <p>
        {failed.length > 0 && <Badge tone="bad" text={count("tests_failed", failed.length)} />} {passed > 0 && <Badge tone="good" text={count("tests_passed", passed)} />}{" "}
        {t("tests_told", { who: told.toldBy })} <Time us={told.toldUs} /> (<Time us={told.toldUs} asAgo />)
      </p>
      <Table caption={t("tests_title")} columns={columns()} rows={told.tests} keyOf={(one) => String(told.tests.indexOf(one))} empty={t("tests_none")} />
    </>
  );
}

const columns = (): Column<RuleTest>[] => [
  { title: t("test"), cell: (one) => one.name },
  { title: t("line"), cell: (one) => one.line, isNumber: true },
  { title: t("outcome"), cell: (one) => <Badge tone={one.passed ? "good" : "bad"} text={t(one.passed ? "test_passed" : "test_failed")} /> },
  { title: t("reason"), cell: (one) => (one.message ? <Words text={one.message} /> : "–") },
];
