// Builds the dashboard into a folder: node build.mjs [FOLDER]. The same sources give the same bytes on every machine.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
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
for (const name of readdirSync(join(here, "static"))) copyFileSync(join(here, "static", name), join(target, name));
