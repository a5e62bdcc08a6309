// Runs RP2040 firmware on rp2040js for the Python side: one JSON command per line in, one JSON answer per line out.
//
//   node runner.mjs RP2040JS IMAGE      RP2040JS: the entry file of the package; IMAGE: the flash, kept up to date
//
//   {"run": UNTIL_NS, "serial": {"0": HEX}, "pins": [[N, LEVEL|null]], "adc": [[AT_NS, CHANNEL, VALUE]]}
//   {"measure": ADDRESS}  {"cut": OPERATIONS}  {"reset": true}
import fs from 'node:fs';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import { callBootRom, installBootRom, installXipControl, mendUart, watchResetRequests } from './patches.mjs';

const [, , packageEntry, imagePath] = process.argv;
const { RP2040, GPIOPinState } = await import(pathToFileURL(packageEntry).href);

const XIP_BASE = 0x10000000;
const INITIAL_SP = 0x20041f00;
const ERASE_NS_PER_SECTOR = 45e6; // W25Q16JV data sheet, 4 KiB sector, typical
const PROGRAM_NS_PER_PAGE = 0.4e6; // 256 bytes, typical
const SECTOR_BYTES = 4096;
const PAGE_BYTES = 256;
const BITS_PER_FRAME = 10;
const IDLE_NS_MAX = 1e6;
const PINS = 30;

const image = fs.openSync(imagePath, 'r+');
const flash = fs.readFileSync(imagePath);
const outside = new Array(PINS).fill(null);
const converted = new Array(5).fill(0); // what the ADC channels read
const line = [[], []];
const state = { instructions: 0, threadInstructions: 0, baseNs: 0, operations: 0, cutAt: 0, overruns: [0, 0] };
let chip, answer, restart, powerLost, levels, feeding;
const marks = new Map();
const calls = new Map();
let open = [];

const now = () => state.baseNs + chip.clock.nanos;
const fresh = () => ({ sent: { 0: [], 1: [] }, pins: [], resets: [], faults: [] });

function boot(cause) {
  const [memory, nanos] = chip ? [chip.sram.slice(), now()] : [null, 0];
  chip = new RP2040();
  state.baseNs = nanos;
  if (memory && cause !== 'power') chip.sram.set(memory);
  chip.flash.set(flash);
  const note = (name, text) => answer.faults.push([now(), `${name}: ${text}`]);
  chip.logger = { debug() {}, info() {}, warn() {}, error: note };
  installBootRom(chip);
  installXipControl(chip);
  watchResetRequests(chip, () => { restart = 'software'; });
  chip.peripherals[0x40058].onWatchdogTrigger = () => { restart = 'watchdog'; };
  chip.onBreak = (code) => callBootRom(chip, code, { erase, program }, (text) => note('core', text));
  chip.uart.forEach(connectUart);
  open = [];
  levels = chip.gpio.map(() => false);
  chip.gpio.forEach((pin, number) => pin.addListener(() => watch(pin, number)));
  outside.forEach((level, number) => level !== null && chip.gpio[number].setInputValue(level));
  converted.forEach((value, channel) => { chip.adc.channelValues[channel] = value; });
  chip.core.SP = INITIAL_SP;
  chip.core.LR = 0;
  chip.core.PC = XIP_BASE;
  answer.resets.push([now(), cause]);
}

function connectUart(uart, port) {
  mendUart(uart);
  uart.onByte = (byte) => answer.sent[port].push(byte);
  const alarm = chip.clock.createAlarm(() => arrive(uart, port));
  feeding ??= [];
  feeding[port] = { alarm, busy: false };
  if (line[port].length) feed(port);
}

function feed(port) {
  const uart = chip.uart[port];
  const frameNs = (BITS_PER_FRAME * 1e9) / (uart.baudDivider ? uart.baudRate : 115200);
  feeding[port].busy = true;
  feeding[port].alarm.schedule(frameNs);
}

function arrive(uart, port) {
  const byte = line[port].shift();
  if (uart.rxFIFO.full) state.overruns[port]++;
  if (uart.enabled) uart.feedByte(byte);
  feeding[port].busy = false;
  if (line[port].length) feed(port);
}

function level(pin) {
  const value = pin.value;
  if (value === GPIOPinState.High || value === GPIOPinState.Low) return value === GPIOPinState.High;
  return outside[pin.index] ?? value === GPIOPinState.InputPullUp;
}

function watch(pin, number) {
  const high = level(pin);
  if (high === levels[number]) return;
  levels[number] = high;
  answer.pins.push([now(), number, high]);
}

function drive(number, high) {
  outside[number] = high;
  const pin = chip.gpio[number];
  pin.setInputValue(high ?? pin.value === GPIOPinState.InputPullUp);
  watch(pin, number);
}

function store(offset, data, busyNs) {
  flash.set(data, offset);
  chip.flash.set(data, offset);
  fs.writeSync(image, data, 0, data.length, offset);
  chip.clock.tick(busyNs);
}

function cutNow() {
  state.operations++;
  powerLost ||= state.operations === state.cutAt;
  return powerLost;
}

function erase(offset, bytes) {
  for (let at = offset; at < offset + bytes && !powerLost; at += SECTOR_BYTES) {
    const size = cutNow() ? SECTOR_BYTES / 2 : SECTOR_BYTES;
    store(at, new Uint8Array(size).fill(0xff), ERASE_NS_PER_SECTOR);
  }
}

function program(offset, data) {
  for (let at = 0; at < data.length && !powerLost; at += PAGE_BYTES) {
    const page = data.subarray(at, at + PAGE_BYTES);
    const size = cutNow() ? page.length / 2 : page.length;
    const cells = Uint8Array.from({ length: size }, (_, place) => flash[offset + at + place] & page[place]);
    store(offset + at, cells, PROGRAM_NS_PER_PAGE);
  }
}

function count(core) {
  state.instructions++;
  if (core.IPSR !== 0) return;
  state.threadInstructions++;
  if (!marks.size) return;
  const call = open.at(-1);
  if (call && core.PC === call.back && core.SP === call.stack) {
    calls.get(call.address).push(state.threadInstructions - 1 - call.begun);
    open.pop();
  }
  if (marks.has(core.PC)) {
    open.push({ address: core.PC, back: core.LR & ~1, stack: core.SP, begun: state.threadInstructions - 1 });
  }
}

function sample(_, channel, value) {
  converted[channel] = value;
  chip.adc.channelValues[channel] = value;
}

function run(until, samples) {
  let next = 0;
  while (!powerLost && now() < until) {
    if (restart) {
      const cause = restart;
      restart = undefined;
      boot(cause);
    }
    for (; next < samples.length && samples[next][0] <= now(); next++) sample(...samples[next]);
    const core = chip.core;
    if (core.waiting) {
      const toSample = next < samples.length ? samples[next][0] - now() : IDLE_NS_MAX;
      chip.clock.tick(Math.max(1, Math.min(chip.clock.nanosToNextAlarm || IDLE_NS_MAX, until - now(), toSample, IDLE_NS_MAX)));
      continue;
    }
    count(core);
    const cycles = core.executeInstruction();
    chip.clock.tick((cycles * 1e9) / chip.clkSys);
  }
}

function handle(command) {
  for (const [number, high] of command.pins ?? []) drive(number, high);
  for (const [port, hex] of Object.entries(command.serial ?? {})) {
    line[port].push(...Buffer.from(hex, 'hex'));
    if (line[port].length && !feeding[port].busy) feed(port);
  }
  if (command.measure !== undefined) {
    marks.set(command.measure, true);
    calls.set(command.measure, []);
  }
  if (command.cut !== undefined) state.cutAt = state.operations + command.cut;
  if (command.reset) boot('pin');
  if (command.run !== undefined) run(command.run, command.adc ?? []);
}

function reply() {
  const hex = (bytes) => Buffer.from(bytes).toString('hex');
  const measured = Object.fromEntries([...calls].map(([address, counts]) => [address, counts.splice(0)]));
  const told = {
    ns: Math.floor(now()), instructions: state.instructions, sent: { 0: hex(answer.sent[0]), 1: hex(answer.sent[1]) },
    pins: answer.pins, resets: answer.resets, faults: answer.faults.slice(0, 100), waiting: line.map((bytes) => bytes.length),
    levels: chip.gpio.map(level), operations: state.operations, powerLost: !!powerLost, overruns: state.overruns, measured,
  };
  process.stdout.write(JSON.stringify(told) + '\n');
  answer = fresh();
}

answer = fresh();
boot('power');
reply();
for await (const text of readline.createInterface({ input: process.stdin })) {
  handle(JSON.parse(text));
  reply();
}
process.exit(0);
