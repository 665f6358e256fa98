/** Everybody may publish here. */
export const NEWS = 'soak:news'
/** Peers that the owner knows. */
export const MEMBERS = 'soak:members'
/** More than a stranger may subscribe to. */
export const OTHERS: readonly string[] = Array.from({ length: 14 }, (_, i) => `soak:other-${i}`)
