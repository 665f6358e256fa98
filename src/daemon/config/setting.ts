import type { z } from 'zod'

/**
 * Every setting of the daemon is one row. The path is its name everywhere: in `config.toml` (dots are tables), in the environment
 * (`KITH_` + upper case, dots as `_`), in errors, in `kith config show` and in the documentation.
 */
export interface Setting<T> {
  readonly schema: z.ZodType<T>
  readonly fallback: T
  /** Dynamic settings take effect at `kith config reload`; the others at the next start. */
  readonly dynamic: boolean
  readonly about: string
  /** The spelling for people, as it would stand in the file. */
  readonly show: (value: T) => string
  /** The value as programs are told it, where it is not told whole. */
  readonly tell?: (value: T) => unknown
}

/** The rows of the settings that `C` has the values of. */
export type Section<C> = { readonly [P in keyof C]: Setting<C[P]> }

interface Row<T> {
  schema: z.ZodType<T>
  fallback: T
  dynamic: boolean
  about: string
  show?: (value: T) => string
  tell?: (value: T) => unknown
}

export function setting<T>(row: Row<T>): Setting<T> {
  return { show: (value) => JSON.stringify(value), ...row }
}
