/** What a request asks for: the path with its escapes resolved, as bytes, and the query. */
export interface Target {
  readonly path: Buffer
  readonly query: string | undefined
}

const SLASH = 0x2f
const DOT = 0x2e

/**
 * The path of a request target: escapes resolved once, repeated slashes joined, "." and ".." followed, also when they were written with escapes. Undefined for
 * what leads above the root, holds a zero byte or a broken escape: nothing else of it can leave the folder by name.
 */
export function readTarget(target: string): Target | undefined {
  const out: number[] = []
  let state: 'usual' | 'slash' | 'dot' | 'dots' = 'usual'
  const up = (): boolean => {
    // "/a/.." loses everything behind the slash before "a".
    out.length = Math.max(0, out.length - 3)
    while (out.length > 0 && out.at(-1) !== SLASH) out.pop()
    return out.length > 0
  }
  const finish = (query: string | undefined): Target | undefined => {
    if (state === 'dot') out.pop()
    if (state === 'dots' && !up()) return undefined
    return { path: Buffer.from(out), query }
  }
  for (let at = 0; at < target.length; at++) {
    let byte = target.charCodeAt(at)
    if (byte === 0x3f) return finish(cutFragment(target.slice(at + 1)))
    if (byte === 0x23) return finish(undefined)
    let literal = false
    if (byte === 0x25) {
      const hex = target.slice(at + 1, at + 3)
      if (!/^[0-9a-fA-F]{2}$/.test(hex)) return undefined
      byte = Number.parseInt(hex, 16)
      at += 2
      literal = byte === 0x25 || byte === 0x23 || byte === 0x3f
    }
    if (byte === 0) return undefined
    if (byte === SLASH && !literal) {
      if (state === 'slash') continue
      if (state === 'dot') out.pop()
      else if (state === 'dots') {
        if (!up()) return undefined
      } else out.push(byte)
      state = 'slash'
      continue
    }
    out.push(byte)
    if (byte === DOT && !literal && state === 'slash') state = 'dot'
    else if (byte === DOT && !literal && state === 'dot') state = 'dots'
    else state = 'usual'
  }
  return finish(undefined)
}

function cutFragment(query: string): string {
  const at = query.indexOf('#')
  return at < 0 ? query : query.slice(0, at)
}
