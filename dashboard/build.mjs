// Builds the dashboard into a folder: node build.mjs [FOLDER]. The same sources give the same bytes on every machine.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../src/eyeflow/coordinator/dashboard"));

mkdirSync(target, { recursive: true });
for (const name of readdirSync(target)) rmSync(join(target, name));
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/app.tsx" },
  outdir: target,
  bundle: true,
  splitting: true,
  format: "esm",
  chunkNames: "[name]-[hash]",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/style/app.css" },
  outdir: target,
  bundle: true,
  minify: true,
  logLevel: "warning",
});
// Their licences ask that their texts come along.
const bundled = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];
const licenses = bundled.map((name) => `${name}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim()}\n`);
writeFileSync(join(target, "licenses.txt"), licenses.join("\n----\n\n"));
for (const name of readdirSync(join(here, "static"))) copyFileSync(join(here, "static", name), join(target, name));
