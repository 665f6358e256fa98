/**
 * # Answers, byte by byte as nginx 1.22 writes them
 *
 * ```text
 * HTTP/1.1 200 OK             always 1.1, whatever the request said; a request without a version gets the body alone
 * Server, Date, Content-Type, Content-Length, Last-Modified, Location, Connection         what there is of these, in this order
 * ETag, Accept-Ranges, Content-Range                                                      then these
 * ```
 */
const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  206: 'Partial Content',
  301: 'Moved Permanently',
  304: 'Not Modified',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Not Allowed',
  412: 'Precondition Failed',
  413: 'Request Entity Too Large',
  414: 'Request-URI Too Large',
  416: 'Requested Range Not Satisfiable',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  505: 'HTTP Version Not Supported',
}

/** Numbers of nginx's own, which are answered as 400 with a text of their own. */
const OWN_TEXTS: Readonly<Record<number, readonly [title: string, line: string]>> = {
  494: ['400 Request Header Or Cookie Too Large', 'Request Header Or Cookie Too Large'],
  497: ['400 The plain HTTP request was sent to HTTPS port', 'The plain HTTP request was sent to HTTPS port'],
}

export interface ResponseHead {
  readonly status: number
  readonly type?: string
  readonly length?: number
  readonly lastModified?: string
  readonly location?: string
  /** Behind `Connection`, in order. */
  readonly more?: readonly (readonly [name: string, value: string])[]
}

export interface ResponseStyle {
  /** As in the header `Server`: `nginx/1.22.1`. */
  readonly server: string
  readonly now: number
  readonly keepAlive: boolean
}

export function formatHead(head: ResponseHead, { server, now, keepAlive }: ResponseStyle): string {
  const status = OWN_TEXTS[head.status] === undefined ? head.status : 400
  const lines = [`HTTP/1.1 ${status} ${REASONS[status] ?? 'Unknown'}`, `Server: ${server}`, `Date: ${httpDate(now)}`]
  if (head.type !== undefined) lines.push(`Content-Type: ${head.type}`)
  if (head.length !== undefined) lines.push(`Content-Length: ${head.length}`)
  if (head.lastModified !== undefined) lines.push(`Last-Modified: ${head.lastModified}`)
  if (head.location !== undefined) lines.push(`Location: ${head.location}`)
  lines.push(`Connection: ${keepAlive ? 'keep-alive' : 'close'}`)
  for (const [name, value] of head.more ?? []) lines.push(`${name}: ${value}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

const PADDING = '<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n'.repeat(6)

/** The page that nginx shows for a status. `agent` is the header User-Agent: two browsers get a longer page, so that they show it. */
export function statusPage(status: number, server: string, agent: string): Buffer {
  const [title, line] = OWN_TEXTS[status] ?? [`${status} ${REASONS[status] ?? 'Unknown'}`, undefined]
  const heading = line === undefined ? `<center><h1>${title}</h1></center>\r\n` : `<center><h1>400 Bad Request</h1></center>\r\n<center>${line}</center>\r\n`
  const page = `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n${heading}<hr><center>${server}</center>\r\n</body>\r\n</html>\r\n`
  const padded = status >= 400 && /Chrome\/|MSIE .{3}/.test(agent) && !agent.includes('Opera')
  return Buffer.from(padded ? page + PADDING : page, 'latin1')
}

export function httpDate(ms: number): string {
  return new Date(ms).toUTCString()
}
