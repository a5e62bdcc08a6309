// One rule of a new deployment: which version of it, and its parameters.
import { useEffect } from "preact/hooks";
import { Reading } from "../components/reading";
import type { Program, Programs, Rules } from "../data/api_types";
import { type Brought, type Change, type Param, US, forBoards, forChip, paramsOf, shown } from "../data/drafts";
import { names, useRead } from "../data/lists";
import { t } from "../text/text";
import { local } from "../text/times";

const OFFERED = 20;
const REMOVE = "remove";

type Props = { change: Change; onChange: (next: Partial<Change>) => void; onBrought: (rule: string, brought: Brought | undefined) => void; onRemove?: (() => void) | undefined };

export function RuleChoice({ change, onChange, onBrought, onRemove }: Props) {
  const rules = useRead<Rules>("/api/rules", { name: change.rule, limit: OFFERED }, (news) => names(news, ["program", "rule"]));
  const list = `rules-${change.key}`;
  return (
    <fieldset>
      <legend>
        {t("rule")} {change.rule}
      </legend>
      <div class="filters">
        <label>
          {t("rule")} <input required list={list} value={change.rule} onInput={(event) => onChange({ rule: event.currentTarget.value.trim(), programId: "", boards: {}, params: {} })} />
        </label>
        <datalist id={list}>
          {rules.value?.rules.map((one) => (
            <option key={one.rule} value={one.rule} />
          ))}
        </datalist>
        {onRemove && (
          <button type="button" onClick={onRemove}>
            {t("leave_out", { name: change.rule })}
          </button>
        )}
      </div>
      {change.rule && <Version key={change.rule} change={change} onChange={onChange} onBrought={onBrought} />}
    </fieldset>
  );
}

/** Which of its programs, or none any more. */
function Version({ change, onChange, onBrought }: Omit<Props, "onRemove">) {
  const found = useRead<Programs>("/api/programs", { rule: change.rule, limit: 100 }, (news) => names(news, ["program"]));
  const known = found.value?.programs ?? [];
  const chosen = known.find((one) => one.id === change.programId) ?? known.find((one) => !one.chip) ?? known[0];
  const offered = [...forBoards(known, chosen)].map(([chip, programs]) => ({ chip, programs, chosen: forChip(programs, chosen, change.boards[chip]) }));
  const boards = offered.flatMap((one) => one.chosen ?? []);
  useEffect(() => onBrought(change.rule, chosen && { program: chosen, boards }), [chosen, ...boards]);
  const choose = (value: string) => onChange({ isRemoved: value === REMOVE, programId: value === REMOVE ? "" : value, boards: {}, params: {} });
  return (
    <Reading read={found}>
      {() => (
        <div class="filters">
          <label>
            {t("version")}{" "}
            <select value={change.isRemoved ? REMOVE : chosen?.id ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
              {!chosen && <option value="">{t("no_program")}</option>}
              {known.map(option)}
              <option value={REMOVE}>{t("remove_rule")}</option>
            </select>
          </label>
          {!change.isRemoved &&
            offered.map((one) => (
              <label key={one.chip}>
                {t("on_boards", { chip: one.chip })}{" "}
                <select value={one.chosen?.id ?? ""} onChange={(event) => onChange({ boards: { ...change.boards, [one.chip]: event.currentTarget.value } })}>
                  <option value="">{t("no_board_program")}</option>
                  {one.programs.map(option)}
                </select>
              </label>
            ))}
          {!change.isRemoved &&
            chosen &&
            paramsOf(chosen).map((one) => (
              <ParamField key={one.name} param={one} value={change.params[one.name] ?? ""} onInput={(value) => onChange({ params: { ...change.params, [one.name]: value } })} />
            ))}
        </div>
      )}
    </Reading>
  );
}

const option = (one: Program) => (
  <option key={one.id} value={one.id}>
    {`${one.version} (${one.chip && `${one.chip}, `}${one.id.slice(0, 12)}, ${local(one.uploadedUs / 1000, false)})`}
  </option>
);

type FieldProps = { param: Param; value: string; onInput: (value: string) => void };

/** Empty means: as the rule has it, which stands there as a hint. */
function ParamField({ param, value, onInput }: FieldProps) {
  const scale = param.type === "duration" ? US : 1;
  const usual = shown(param, param.default);
  const choices = param.type === "bool" ? ["true", "false"] : param.members;
  const name = param.type === "duration" ? t("in_seconds", { name: param.name }) : param.name;
  if (choices) {
    return (
      <label>
        {name}{" "}
        <select value={value} onChange={(event) => onInput(event.currentTarget.value)}>
          <option value="">{t("as_rule_has_it", { value: usual })}</option>
          {choices.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      </label>
    );
  }
  const field = { placeholder: usual, value, onInput: (event: { currentTarget: HTMLInputElement }) => onInput(event.currentTarget.value) };
  const low = param.low === undefined ? undefined : param.low / scale;
  const high = param.high === undefined ? undefined : param.high / scale;
  return (
    <label>
      {name} {param.type === "text" ? <input {...field} /> : <input type="number" step={param.type === "int" ? 1 : "any"} min={low} max={high} {...field} />}
    </label>
  );
}
