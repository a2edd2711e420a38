-- Gives pandoc alone what Quarto does for figures: a div with an id `fig-…` becomes a numbered figure whose last
-- paragraph is the caption, a captioned image with such an id is numbered as well (`fig-alt` is its text for those
-- who do not see it), and `@fig-…` becomes a link with that number.

local numbers = {}
local count = 0

local function collect(block)
  if block.identifier:match("^fig%-") then
    count = count + 1
    numbers[block.identifier] = count
  end
end

local function caption_of(number, inlines)
  local caption = pandoc.Inlines({ pandoc.Str("Figure\u{a0}" .. number .. ":"), pandoc.Space() })
  caption:extend(inlines)
  return { pandoc.Plain(caption) }
end

local function image(block)
  local number = numbers[block.identifier]
  if not number then
    return nil
  end
  local alt = nil
  block.content = block.content:walk({
    Image = function(element)
      alt = element.attributes["fig-alt"]
      element.attributes["fig-alt"] = nil
      if alt then
        element.caption = { pandoc.Str(alt) }
      end
      return element
    end,
  })
  block.caption.long = caption_of(number, pandoc.utils.blocks_to_inlines(block.caption.long))
  return block
end

local function figure(div)
  local number = numbers[div.identifier]
  if not number or #div.content == 0 then
    return nil
  end
  local last = div.content[#div.content]
  if last.t ~= "Para" and last.t ~= "Plain" then
    return nil
  end
  div.content:remove(#div.content)
  local attributes = pandoc.Attr(div.identifier, div.classes)
  return pandoc.Figure(div.content, caption_of(number, last.content), attributes)
end

local function reference(cite)
  local id = cite.citations[1].id
  if numbers[id] then
    return pandoc.Link("Figure\u{a0}" .. numbers[id], "#" .. id)
  end
end

return {
  { traverse = "topdown", Div = collect, Figure = collect },
  { Figure = image },
  { Div = figure, Cite = reference },
}
