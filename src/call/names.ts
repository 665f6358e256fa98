/** A letter first, so that no segment is a path step or a number. */
const SEGMENT = '[A-Za-z][A-Za-z0-9_.-]{0,63}'
const NAME = new RegExp(`^${SEGMENT}/${SEGMENT}$`)
/** A node is an alias, or an identity. */
const NODE = /^[A-Za-z0-9][A-Za-z0-9:_.-]{0,127}$/
/** The longest path that is looked at. */
export const MAX_PATH_LENGTH = 260

export interface CallPath {
  /** `''` for here. */
  readonly node: string
  /** `service/op`. */
  readonly name: string
}

/** Whether the text is `service/op`. */
export function isOperationName(text: string): boolean {
  return NAME.test(text)
}

/** @throws TypeError */
export function checkOperationName(name: string): void {
  if (!NAME.test(name)) throw new TypeError('an operation is named service/op, each of 1 to 64 letters, digits and _ . -, a letter first')
}

/** `service/op`, `/service/op` or `/node/service/op`; `undefined` for anything else. */
export function parseCallPath(path: string): CallPath | undefined {
  if (path.length > MAX_PATH_LENGTH) return undefined
  if (path !== lastText) {
    lastPath = parsed(path)
    lastText = path
  }
  return lastPath
}

/** Of a call its head, its callee and its handler ask, and the next call is mostly to the same place. */
let lastText = ''
let lastPath: CallPath | undefined

function parsed(path: string): CallPath | undefined {
  if (path.charCodeAt(0) !== 0x2f) return NAME.test(path) ? { node: '', name: path } : undefined
  const rest = path.slice(1)
  if (NAME.test(rest)) return { node: '', name: rest }
  const slash = rest.indexOf('/')
  const node = rest.slice(0, slash)
  const name = rest.slice(slash + 1)
  return slash > 0 && NODE.test(node) && NAME.test(name) ? { node, name } : undefined
}
