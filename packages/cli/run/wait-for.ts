/** Waiting for a container's end, asked for before it starts. */
import type { Client } from "#client/client.ts";

/**
 * Sends the request; resolves at once with a promise of the exit code (wrapped, for a promise of a promise would be
 * waited for). Docker's daemons answer the head of it before the end, so that nothing can end in between.
 */
export async function waitFor(
  client: Client,
  id: string,
  condition: "next-exit" | "removed" | "not-running",
): Promise<{ code: Promise<number> }> {
  const answer = await client.request("POST", `/containers/${id}/wait`, { query: { condition } });
  const code = (async () => {
    let text = "";
    for await (const chunk of answer) text += chunk;
    const { StatusCode, Error: failure } = JSON.parse(text) as {
      StatusCode: number;
      Error?: { Message: string } | null;
    };
    if (failure?.Message) throw new Error(failure.Message);
    return StatusCode;
  })();
  // Whoever waits may be busy with the output still.
  code.catch(() => {});
  return { code };
}
