/** The name in a host with or without port, in lower case; undefined for what nginx refuses. */
export function hostName(text: string): string | undefined {
  if (/[\0-\x20\x7f/]|\.\./.test(text)) return undefined
  const literal = text.startsWith('[') ? text.indexOf(']') + 1 || text.length : undefined
  const colon = text.indexOf(':')
  const end = literal ?? (colon === -1 ? text.length : colon)
  const name = text.slice(0, end).toLowerCase()
  // A final dot is left away, but only when no other follows behind the port.
  const bare = name.endsWith('.') && text.lastIndexOf('.') === end - 1 ? name.slice(0, -1) : name
  return bare === '' ? undefined : bare
}
