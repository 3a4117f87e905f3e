import { styleText } from 'node:util'

type Style = 'bold' | 'cyan' | 'green' | 'yellow'

/** Gives a text a style, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string

/** Whether there is a terminal that can be written over. */
export function isCapable(
  output: Pick<NodeJS.WriteStream, 'isTTY'>,
  environment: NodeJS.ProcessEnv,
): boolean {
  return output.isTTY === true && environment.TERM !== 'dumb'
}

/** Colors on a terminal, unless NO_COLOR is set (https://no-color.org). */
export function createPaint(
  output: Pick<NodeJS.WriteStream, 'isTTY'>,
  environment: NodeJS.ProcessEnv,
): Paint {
  if (!isCapable(output, environment) || environment.NO_COLOR) return (_style, text) => text
  // Decided here, not by what styleText thinks of stdout.
  return (style, text) => styleText(style, text, { validateStream: false })
}
