import { styleText } from 'node:util'

export type Style = (text: string) => string

/** Colours by meaning. Without colour every one gives the text back. */
export interface Palette {
  readonly strong: Style
  readonly quiet: Style
  readonly good: Style
  readonly warn: Style
  readonly bad: Style
}

const plain: Style = (text) => text
const style =
  (format: Parameters<typeof styleText>[0]): Style =>
  (text) =>
    styleText(format, text, { validateStream: false })

export function palette(colour: boolean): Palette {
  if (!colour) return { strong: plain, quiet: plain, good: plain, warn: plain, bad: plain }
  return { strong: style('bold'), quiet: style('dim'), good: style('green'), warn: style('yellow'), bad: style('red') }
}

/** Whether a stream gets colour: a terminal, unless `--no-color`, `NO_COLOR` or a dumb terminal says otherwise. */
export function wantsColour(stream: { isTTY?: boolean }, env: Readonly<Record<string, string | undefined>>, noColor: boolean): boolean {
  const refused = env.NO_COLOR !== undefined && env.NO_COLOR !== ''
  return stream.isTTY === true && !noColor && !refused && env.TERM !== 'dumb'
}

/** Control characters (but line feed and tab), what is not seen, and what turns the writing direction. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
/** Zero-width joiners: scripts and emoji need them. */
const KEPT: ReadonlySet<string> = new Set(['\n', '\t', '\u200c', '\u200d'])
// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours that a palette writes (ECMA-48 SGR).
const COLOUR = /(\u001b\[[0-9;]*m)/

/**
 * Text from elsewhere (names, addresses, messages of a peer) made harmless for a terminal: control characters, escape sequences and
 * characters that turn the writing direction or cannot be seen become a visible mark.
 */
export function harmless(text: string): string {
  return text.replace(UNSAFE, (letter) => (KEPT.has(letter) ? letter : '\ufffd'))
}

/** The same for one line: breaks in it become spaces, so that nothing in it looks like a line of our own. */
export function harmlessLine(text: string): string {
  return harmless(text.replace(/[\n\t]/g, ' '))
}

/** The last look at text for a terminal that holds our own colours: everything but those is made harmless. */
export function harmlessColoured(text: string): string {
  return text
    .split(COLOUR)
    .map((part, index) => (index % 2 === 1 ? part : harmless(part)))
    .join('')
}

/** JSON that a terminal can show as it is: what would be unsafe stands there as an escape, which every parser reads back. */
export function harmlessJson(value: unknown): string {
  return JSON.stringify(value).replace(UNSAFE, (letter) => letter.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`))
}

export interface Cell {
  readonly text: string
  readonly style?: Style
}

export interface TableOptions {
  /** How wide the terminal is; without one any line fits. */
  readonly columns?: number
  /** Columns that may be left out where the table is wider than that, by index, in this order. */
  readonly spare?: readonly number[]
}

/** Less room is not worth a column of broken lines. */
const LEAST_WRAPPED = 24

/**
 * Columns as wide as their widest cell, two spaces apart; the last one is not padded, and goes on below itself where the terminal ends.
 * Line breaks in cells become spaces.
 */
export function table(rows: readonly (readonly (string | Cell)[])[], { columns = Number.POSITIVE_INFINITY, spare = [] }: TableOptions = {}): string[] {
  let cells = rows.map((row) => row.map((cell): Cell => (typeof cell === 'string' ? { text: harmlessLine(cell) } : { ...cell, text: harmlessLine(cell.text) })))
  let widths = widest(cells)
  const left = new Set<number>()
  for (const index of spare) {
    if (total(widths) - [...left].reduce((sum, at) => sum + (widths[at] ?? 0) + GAP, 0) <= columns) break
    left.add(index)
  }
  if (left.size > 0) {
    cells = cells.map((row) => row.filter((_, index) => !left.has(index)))
    widths = widest(cells)
  }
  const indent = total(widths.slice(0, -1)) + (widths.length > 1 ? GAP : 0)
  const room = columns - indent >= LEAST_WRAPPED ? columns - indent : Number.POSITIVE_INFINITY
  return cells.flatMap((row) => {
    const last = row.length === widths.length ? row.at(-1) : undefined
    const head = last === undefined ? row : row.slice(0, -1)
    const padded = head.map(({ text, style: paint = plain }, index) => paint(text) + ' '.repeat((widths[index] as number) - width(text)))
    const [first = '', ...more] = (last === undefined ? [] : wrapped(last.text, room)).map((text) => (last?.style ?? plain)(text))
    return [[...padded, ...(last === undefined ? [] : [first])].join(' '.repeat(GAP)).trimEnd(), ...more.map((text) => ' '.repeat(indent) + text)]
  })
}

const GAP = 2

function widest(rows: readonly (readonly Cell[])[]): number[] {
  const widths: number[] = []
  for (const row of rows) for (const [index, { text }] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, width(text))
  return widths
}

function total(widths: readonly number[]): number {
  return widths.reduce((sum, each) => sum + each, 0) + GAP * Math.max(0, widths.length - 1)
}

/** Broken at spaces into lines of at most `room` characters; a longer word stays whole. */
export function wrapped(text: string, room: number): string[] {
  if (width(text) <= room) return [text]
  const lines: string[] = []
  let line = ''
  for (const [, space = '', word = ''] of text.matchAll(/( *)([^ ]+)/g)) {
    if (line !== '' && width(line) + space.length + width(word) > room) {
      lines.push(line)
      line = word
    } else line += line === '' ? word : space + word
  }
  return line === '' ? lines : [...lines, line]
}

/** Characters as a person counts them; wide scripts are off by their width, which only costs alignment. */
function width(text: string): number {
  return [...text].length
}
