// What rp2040js 1.4.1 lacks for Embassy firmware, applied to one RP2040 object at run time; the package stays untouched.
//
// 1. A boot ROM: the real one may not be shipped, so a table of BKPT instructions stands in for the functions that
//    firmware looks up (RP2040 data sheet 2.8.3), and the functions are done here.
// 2. The XIP control block, whose FLUSH and STAT registers the firmware reads.
// 3. The transmit interrupt of the UART: a transition of the FIFO level, not a level; and its registers IFLS and DMACR.
// 4. A system reset asked for through AIRCR.

const ROM_TABLE = 0x100;
const ROM_FUNCTIONS = 0x110;
const BKPT = 0xbe00;
const BX_LR = 0x4770;
const LOOKUP = 0xe0;
const FIRST_FUNCTION = 0xc0;
const FUNCTIONS = ['IF', 'EX', 'RE', 'RP', 'FC', 'CX', 'MC', 'C4', 'MS', 'S4'];

const XIP_CONTROL = 0x14000;
const XIP_STATUS = 8;
const XIP_READY = 3;

const UART_DATA = 0x00;
const UART_LEVELS = 0x34;
const UART_DMA = 0x48;
const UART_LEVELS_AT_RESET = 0x12;
const UART_TRANSMIT = 1 << 5;

const AIRCR = 0xd0c;
const RESET_REQUEST = 0x05fa0004;

/** Writes the stand-in for the boot ROM. */
export function installBootRom(chip) {
  const rom = new DataView(new ArrayBuffer(0x4000));
  rom.setUint32(0x10, 0x0201754d, true); // "Mu", version 2
  rom.setUint16(0x14, 0x200, true); // the function table: empty, the lookup below knows the functions
  rom.setUint16(0x16, 0x210, true); // the data table: empty
  rom.setUint16(0x18, ROM_TABLE | 1, true);
  rom.setUint16(ROM_TABLE, BKPT | LOOKUP, true);
  rom.setUint16(ROM_TABLE + 2, BX_LR, true);
  FUNCTIONS.forEach((_, index) => {
    rom.setUint16(ROM_FUNCTIONS + 4 * index, BKPT | (FIRST_FUNCTION + index), true);
    rom.setUint16(ROM_FUNCTIONS + 4 * index + 2, BX_LR, true);
  });
  chip.bootrom.set(new Uint32Array(rom.buffer));
}

/** Does the boot ROM function of a breakpoint. `flash` has erase(offset, bytes) and program(offset, data). */
export function callBootRom(chip, code, flash, onFault) {
  const registers = chip.core.registers;
  if (code === LOOKUP) {
    const name = String.fromCharCode(registers[1] & 0xff, (registers[1] >> 8) & 0xff);
    const index = FUNCTIONS.indexOf(name);
    registers[0] = index < 0 ? 0 : (ROM_FUNCTIONS + 4 * index) | 1;
    return;
  }
  const [first, second, third] = [registers[0] >>> 0, registers[1] >>> 0, registers[2] >>> 0];
  switch (FUNCTIONS[code - FIRST_FUNCTION]) {
    case 'RE':
      return flash.erase(first, second);
    case 'RP':
      return flash.program(first, Uint8Array.from({ length: third }, (_, at) => chip.readUint8(second + at)));
    case 'MC':
    case 'C4':
      for (let at = 0; at < third; at++) chip.writeUint8(first + at, chip.readUint8(second + at));
      return undefined;
    case 'MS':
    case 'S4':
      for (let at = 0; at < third; at++) chip.writeUint8(first + at, second & 0xff);
      return undefined;
    case 'IF':
    case 'EX':
    case 'FC':
    case 'CX':
      return undefined; // connecting, leaving XIP, flushing, entering XIP: nothing to do without a real flash chip
    default:
      return onFault(`breakpoint ${code} at 0x${chip.core.PC.toString(16)}`);
  }
}

/** Adds the XIP control block. */
export function installXipControl(chip) {
  chip.peripherals[XIP_CONTROL] = {
    name: 'XIP_CTRL',
    readUint32: (offset) => (offset === XIP_STATUS ? XIP_READY : 0),
    writeUint32() {},
    writeUint32Atomic() {},
  };
}

/** Gives a UART the interrupt behaviour of a PL011. */
export function mendUart(uart) {
  const extra = new Map([[UART_LEVELS, UART_LEVELS_AT_RESET], [UART_DMA, 0]]);
  const read = uart.readUint32.bind(uart);
  const write = uart.writeUint32.bind(uart);
  uart.checkInterrupts = () => uart.rp2040.setInterrupt(uart.irq, (uart.interruptStatus & uart.interruptMask) !== 0);
  uart.readUint32 = (offset) => (extra.has(offset) ? extra.get(offset) : read(offset));
  uart.writeUint32 = (offset, value) => {
    if (extra.has(offset)) {
      extra.set(offset, value);
      return;
    }
    write(offset, value);
    if (offset === UART_DATA) {
      uart.interruptStatus |= UART_TRANSMIT;
      uart.checkInterrupts();
    }
  };
}

/** Calls `onReset` when the firmware asks for a system reset. */
export function watchResetRequests(chip, onReset) {
  const write = chip.ppb.writeUint32.bind(chip.ppb);
  chip.ppb.writeUint32 = (offset, value) => {
    if (offset === AIRCR && value >>> 0 === RESET_REQUEST) onReset();
    else write(offset, value);
  };
}
