import { z } from 'zod'
import type { Identifier } from './identifiers.ts'

/** Answers of an authority that are used, as far as they are used: RFC 8555, section 7.1; profiles by draft-ietf-acme-profiles. */
export interface Directory {
  readonly newNonce: string
  readonly newAccount: string
  readonly newOrder: string
  readonly meta?: { readonly profiles?: Readonly<Record<string, unknown>> | undefined } | undefined
}

export interface Challenge {
  readonly type: string
  readonly url: string
  readonly token?: string | undefined
  readonly error?: unknown
}

export interface Authorization {
  readonly identifier: Identifier
  readonly status: 'pending' | 'valid' | 'invalid' | 'deactivated' | 'expired' | 'revoked'
  readonly challenges: readonly Challenge[]
}

export interface Order {
  readonly status: 'pending' | 'ready' | 'processing' | 'valid' | 'invalid'
  readonly authorizations: readonly string[]
  readonly finalize: string
  readonly certificate?: string | undefined
  readonly error?: unknown
}

export interface Problem {
  readonly type?: string | undefined
  readonly detail?: string | undefined
}

const url: z.ZodType<string> = z.string().max(2_048)
const MAX_LISTED = 100

export const directorySchema: z.ZodType<Directory> = z.object({
  newNonce: url,
  newAccount: url,
  newOrder: url,
  meta: z.object({ profiles: z.record(z.string().max(64), z.unknown()).optional() }).optional(),
})

const challengeSchema: z.ZodType<Challenge> = z.object({
  type: z.string().max(64),
  url,
  token: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,512}$/)
    .optional(),
  error: z.unknown().optional(),
})

export const authorizationSchema: z.ZodType<Authorization> = z.object({
  identifier: z.object({ type: z.enum(['dns', 'ip']), value: z.string().max(253) }),
  status: z.enum(['pending', 'valid', 'invalid', 'deactivated', 'expired', 'revoked']),
  challenges: z.array(challengeSchema).max(32),
})

export const orderSchema: z.ZodType<Order> = z.object({
  status: z.enum(['pending', 'ready', 'processing', 'valid', 'invalid']),
  authorizations: z.array(url).max(MAX_LISTED),
  finalize: url,
  certificate: url.optional(),
  error: z.unknown().optional(),
})

export const problemSchema: z.ZodType<Problem> = z.object({ type: z.string().max(200).optional(), detail: z.string().optional() })
