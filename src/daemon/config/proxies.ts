import { z } from 'zod'
import { isKithError } from '../../core/errors.ts'
import { MAX_PROXIES, parseProxy } from '../../transport/proxy.ts'

/** Networks that are other machines wherever a proxy is: loopback, link-local and private ones (RFC 1918, RFC 3927, RFC 4193, RFC 6598). */
export const PRIVATE_NETWORKS: readonly string[] = [
  '127.0.0.0/8',
  '::1/128',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '100.64.0.0/10',
  'fe80::/10',
  'fc00::/7',
]

/** A chain of proxies as it stands in the file. What is wrong is said without repeating the text, which may hold a password. */
export const proxiesSchema: z.ZodType<readonly string[]> = z
  .array(
    z.string('expected a proxy such as "socks5://127.0.0.1:1080"').superRefine(checkProxy),
    'expected a list of proxies such as ["socks5://127.0.0.1:1080"]',
  )
  .max(MAX_PROXIES)
  .readonly()

function checkProxy(text: string, context: z.RefinementCtx): void {
  try {
    parseProxy(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: isKithError(error) ? error.message.replace(/\.$/, '') : 'expected a proxy' })
  }
}

export function withoutCredentials(proxies: readonly string[]): readonly string[] {
  return proxies.map((text) => parseProxy(text).toString())
}
