/**
 * How many calls of this node a call of a handler was made within, and whether it has been at the head already. Under a symbol: nothing that came from outside, or
 * that a program passed on, can say it.
 */
export const NESTED: unique symbol = Symbol('nested')

export interface Nested {
  readonly depth: number
  readonly routed: boolean
}
