/**
 * The line, from 1, where a setting stands in the text of a configuration; undefined where it cannot be told by looking at headers and keys alone. It is for
 * messages only: what the file says is what the TOML parser says.
 */
export function lineOfSetting(text: string, path: string): number | undefined {
  const wanted = path.split('.')
  let table: readonly string[] = []
  let close: { readonly line: number; readonly parts: number } | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[\[?\s*([^[\]]+?)\s*\]\]?/.exec(line)
    if (header !== null) table = parts(header[1] as string)
    const key = header === null ? /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(line) : null
    if (header === null && key === null) continue
    const here = key === null ? table : [...table, ...parts(key[1] as string)]
    if (!here.every((part, at) => part === wanted[at])) continue
    // A header alone may be the table of another key: the longest one found is nearest.
    if (close === undefined || here.length > close.parts) close = { line: index + 1, parts: here.length }
  }
  return close?.line
}

function parts(key: string): readonly string[] {
  return key.split('.').map((part) => part.trim().replace(/^["']|["']$/g, ''))
}
