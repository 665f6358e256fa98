import type { Logger } from '../core/observe/log.ts'
import { errorHeaders, errorText, outward, sendJson, statusOf } from './answer.ts'
import { hasBody, linger } from './body.ts'
import type { Exchange } from './exchange.ts'

/** Tells a client why it is not answered, or, where an answer has begun already, ends its connection. */
export async function refuse({ request, response, headers, expects }: Exchange, error: unknown, logger: Logger): Promise<void> {
  response.on('error', () => undefined)
  const known = outward(error)
  if (known.code === 'INTERNAL') logger.error('gateway request failed', { message: known.cause instanceof Error ? known.cause.message : 'unknown' })
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const unread = hasBody(request) && !request.complete
  // Who waits to be asked for the body is not asked.
  if (unread && !expects) await linger(request)
  if (response.destroyed) return
  const close = unread && !request.complete ? ['connection', 'close'] : []
  sendJson(response, statusOf(known.code), errorText(known), [...headers, ...errorHeaders(known), ...close])
}
