// One rule of a new deployment: which version of it, and its parameters.
import { useEffect } from "preact/hooks";
import { Reading } from "../components/reading";
import type { Program, Programs, Rules } from "../data/api_types";
import { type Change, type Param, US, paramsOf, shown } from "../data/drafts";
import { names, useRead } from "../data/lists";
import { t } from "../text/text";
import { local } from "../text/times";

const OFFERED = 20;
const REMOVE = "remove";

type Props = { change: Change; onChange: (next: Partial<Change>) => void; onProgram: (rule: string, program: Program | undefined) => void; onRemove?: (() => void) | undefined };

export function RuleChoice({ change, onChange, onProgram, onRemove }: Props) {
  const rules = useRead<Rules>("/api/rules", { name: change.rule, limit: OFFERED }, (news) => names(news, ["program", "rule"]));
  const list = `rules-${change.key}`;
  return (
    <fieldset>
      <legend>
        {t("rule")} {change.rule}
      </legend>
      <div class="filters">
        <label>
          {t("rule")} <input required list={list} value={change.rule} onInput={(event) => onChange({ rule: event.currentTarget.value.trim(), programId: "", params: {} })} />
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
      {change.rule && <Version key={change.rule} change={change} onChange={onChange} onProgram={onProgram} />}
    </fieldset>
  );
}

/** Which of its programs, or none any more. */
function Version({ change, onChange, onProgram }: Omit<Props, "onRemove">) {
  const found = useRead<Programs>("/api/programs", { rule: change.rule, limit: 100 }, (news) => names(news, ["program"]));
  const known = found.value?.programs ?? [];
  const chosen = known.find((one) => one.id === change.programId) ?? known[0];
  useEffect(() => onProgram(change.rule, chosen), [chosen]);
  const choose = (value: string) => onChange({ isRemoved: value === REMOVE, programId: value === REMOVE ? "" : value, params: {} });
  return (
    <Reading read={found}>
      {() => (
        <div class="filters">
          <label>
            {t("version")}{" "}
            <select value={change.isRemoved ? REMOVE : chosen?.id ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
              {!chosen && <option value="">{t("no_program")}</option>}
              {known.map((one) => (
                <option key={one.id} value={one.id}>
                  {`${one.version} (${one.id.slice(0, 12)}, ${local(one.uploadedUs / 1000, false)})`}
                </option>
              ))}
              <option value={REMOVE}>{t("remove_rule")}</option>
            </select>
          </label>
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
